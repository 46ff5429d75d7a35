/**
 * The curves of one panel: fetches what is missing or stale and keeps the rest. Hiding a run costs
 * nothing, showing it again fetches at most that run, and old data stays until new has arrived.
 * What is drawn are members: runs, or groups of runs, which are stale as soon as one of their runs is.
 *
 * Zoomed, a feed holds finer buckets of the range beside the whole curve, which fills the edges and
 * makes the way back instant.
 */

import type { Manner, Member } from "../api/curves";
import type { Curve, ProjectRef, Range } from "../api/types";
import { groupBy } from "../group";
import type { Coalescer } from "./coalesce";
import { coarseSpan, splice } from "./curve";

export interface Want {
  manner: Manner;
  members: readonly Member[];
  range: Range | null;
  buckets: number;
}

export type FeedStatus = "loading" | "ready" | "error";

/** What came for one member: a curve, or one per rank. */
interface Held {
  curves: readonly Curve[];
  runs: readonly string[];
  revision: number;
}

interface Layer {
  range: Range | null;
  buckets: number;
  held: Map<string, Held>;
}

interface Round {
  layer: Layer;
  members: Member[];
}

export interface Revisioned {
  revision(run: string): number;
  nudge(): void;
}

const sameRange = (a: Range | null, b: Range | null) => a?.from === b?.from && a?.to === b?.to;
const sameManner = (a: Manner, b: Manner) =>
  a.x === b.x && a.ranks === b.ranks && a.isGrouped === b.isGrouped;
const sameRuns = (a: readonly string[], b: readonly string[]) =>
  a === b || (a.length === b.length && a.every((run, i) => run === b[i]));
const newLayer = (range: Range | null): Layer => ({ range, buckets: 0, held: new Map() });

const NOTHING: Want = {
  manner: { x: "step", ranks: "together", isGrouped: false },
  members: [],
  range: null,
  buckets: 0,
};

export class Feed {
  status: FeedStatus = "loading";
  error: unknown = null;
  onChange: () => void = () => {};
  private readonly key: string;
  private readonly project: ProjectRef;
  private readonly source: Coalescer;
  private readonly live: Revisioned;
  private want = NOTHING;
  private whole = newLayer(null);
  private detail: Layer | null = null;
  private flight: AbortController | null = null;
  private isPaused = true;

  constructor(key: string, project: ProjectRef, source: Coalescer, live: Revisioned) {
    this.key = key;
    this.project = project;
    this.source = source;
    this.live = live;
  }

  /** What to show from now on; fetches unless paused. */
  request(want: Want): void {
    const isOther = !sameManner(want.manner, this.want.manner);
    if (isOther || !sameRange(want.range, this.want.range) || want.buckets !== this.want.buckets) {
      this.flight?.abort();
      this.flight = null;
    }
    if (isOther) this.forget();
    this.want = want;
    if (!sameRange(want.range, this.detail?.range ?? null)) {
      this.detail = want.range && newLayer(want.range);
    }
    this.isPaused = false;
    this.sync();
  }

  /** Out of view: keep the data, fetch nothing. */
  pause(): void {
    this.isPaused = true;
    this.flight?.abort();
    this.flight = null;
    this.onChange = () => {};
  }

  /** The curves wanted, in the order of the members; fewer while loading. */
  curves(): Curve[] {
    const curves: Curve[] = [];
    const range = this.detail?.range;
    for (const { id } of this.want.members) {
      const whole = this.whole.held.get(id)?.curves ?? [];
      const detail = range && this.detail?.held.get(id)?.curves;
      const shown = detail ? spliceAll(whole, detail, range) : whole;
      for (const curve of shown) if (curve.x.length > 0) curves.push(curve);
    }
    return curves;
  }

  /** Fetches what the wanted view lacks, one round at a time. */
  sync(): void {
    if (this.isPaused || this.flight) return;
    const rounds = this.lacking();
    if (rounds.length === 0) {
      this.settle("ready");
      return;
    }
    const isFresh = rounds.some(({ layer, members }) =>
      members.some(({ id }) => !layer.held.has(id)),
    );
    if (isFresh && this.status === "ready" && this.curves().length === 0) this.settle("loading");
    const flight = new AbortController();
    this.flight = flight;
    void this.fetch(rounds, flight);
  }

  retry(): void {
    this.status = "loading";
    this.sync();
  }

  private forget(): void {
    this.whole = newLayer(null);
    this.detail = null;
    this.status = "loading";
  }

  private revision({ runs }: Member): number {
    return runs.reduce((most, run) => Math.max(most, this.live.revision(run)), 0);
  }

  private isStale(layer: Layer, member: Member): boolean {
    const held = layer.held.get(member.id);
    return (
      held === undefined ||
      layer.buckets !== this.want.buckets ||
      held.revision !== this.revision(member) ||
      !sameRuns(held.runs, member.runs)
    );
  }

  private lacking(): Round[] {
    const { members, range } = this.want;
    const rounds: Round[] = [];
    // While zoomed, an older whole will do.
    const whole = members.filter((member) =>
      range ? !this.whole.held.has(member.id) : this.isStale(this.whole, member),
    );
    if (whole.length > 0) rounds.push({ layer: this.whole, members: whole });
    const layer = this.detail;
    if (layer) {
      const detail = members.filter((member) => this.isStale(layer, member));
      if (detail.length > 0) rounds.push({ layer, members: detail });
    }
    return rounds;
  }

  private async fetch(rounds: Round[], flight: AbortController): Promise<void> {
    try {
      await Promise.all(rounds.map((round) => this.fill(round, flight.signal)));
      if (this.flight !== flight) return;
      this.flight = null;
      this.settle("ready");
      // What advanced meanwhile waits for the next tick; a run that was just shown does not.
      const next = this.lacking();
      if (next.some(({ layer, members }) => members.some(({ id }) => !layer.held.has(id)))) {
        this.sync();
      } else if (next.length > 0) this.live.nudge();
    } catch (error) {
      if (this.flight !== flight) return;
      this.flight = null;
      if (flight.signal.aborted) return;
      this.error = error;
      this.settle("error");
    }
  }

  private async fill({ layer, members }: Round, signal: AbortSignal): Promise<void> {
    const { buckets, manner } = this.want;
    const revisions = members.map((member) => this.revision(member));
    const ask = { project: this.project, manner, members, key: this.key, buckets };
    const load = (range: Range | null) => this.source.load({ ...ask, range }, signal);
    let curves = await load(layer.range);
    const narrow = manner.x === "step" ? coarseSpan(curves, buckets) : null;
    if (narrow) curves = await load(narrow);
    if (signal.aborted) return;
    const arrived = groupBy(curves, ({ id }) => id);
    for (const [i, { id, runs }] of members.entries()) {
      layer.held.set(id, { curves: arrived.get(id) ?? [], runs, revision: revisions[i] });
    }
    layer.buckets = buckets;
    this.settle(this.status === "error" ? "ready" : this.status);
  }

  private settle(status: FeedStatus): void {
    this.status = status;
    this.onChange();
  }
}

/** Rank by rank. */
function spliceAll(whole: readonly Curve[], detail: readonly Curve[], range: Range): Curve[] {
  const ranks = new Set([...whole, ...detail].map(({ rank }) => rank));
  const spliced: Curve[] = [];
  for (const rank of ranks) {
    const of = (curves: readonly Curve[]) => curves.find((curve) => curve.rank === rank) ?? null;
    const curve = splice(of(whole), of(detail), range);
    if (curve) spliced.push(curve);
  }
  return spliced;
}
