/**
 * The curves of one panel: fetches what is missing or stale and keeps the rest. Hiding a run costs
 * nothing, showing it again fetches at most that run, and old data stays until new has arrived.
 *
 * Zoomed, a feed holds finer buckets of the range beside the whole curve, which fills the edges and
 * makes the way back instant.
 */

import type { Curve, ProjectRef, Range } from "../api/types";
import type { Coalescer } from "./coalesce";
import { coarseSpan, splice } from "./curve";

export interface Want {
  runs: readonly string[];
  range: Range | null;
  buckets: number;
}

export type FeedStatus = "loading" | "ready" | "error";

interface Held {
  curve: Curve | null;
  revision: number;
}

interface Layer {
  range: Range | null;
  buckets: number;
  held: Map<string, Held>;
}

export interface Revisioned {
  revision(run: string): number;
  nudge(): void;
}

const sameRange = (a: Range | null, b: Range | null) => a?.from === b?.from && a?.to === b?.to;
const newLayer = (range: Range | null): Layer => ({ range, buckets: 0, held: new Map() });

export class Feed {
  status: FeedStatus = "loading";
  error: unknown = null;
  onChange: () => void = () => {};
  private readonly key: string;
  private readonly project: ProjectRef;
  private readonly source: Coalescer;
  private readonly live: Revisioned;
  private want: Want = { runs: [], range: null, buckets: 0 };
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
    if (!sameRange(want.range, this.want.range) || want.buckets !== this.want.buckets) {
      this.flight?.abort();
      this.flight = null;
    }
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

  /** The curves wanted, in the order of the runs; fewer while loading. */
  curves(): Curve[] {
    const curves: Curve[] = [];
    for (const run of this.want.runs) {
      const whole = this.whole.held.get(run)?.curve ?? null;
      const detail = this.detail?.held.get(run);
      const curve =
        this.detail?.range && detail ? splice(whole, detail.curve, this.detail.range) : whole;
      if (curve && curve.x.length > 0) curves.push(curve);
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
    const flight = new AbortController();
    this.flight = flight;
    void this.fetch(rounds, flight);
  }

  retry(): void {
    this.status = "loading";
    this.sync();
  }

  private lacking(): { layer: Layer; runs: string[] }[] {
    const { runs, range, buckets } = this.want;
    const rounds: { layer: Layer; runs: string[] }[] = [];
    const isStale = (layer: Layer, run: string) =>
      layer.held.get(run)?.revision !== this.live.revision(run) || layer.buckets !== buckets;
    // While zoomed, an older whole will do.
    const whole = runs.filter((run) =>
      range ? !this.whole.held.has(run) : isStale(this.whole, run),
    );
    if (whole.length > 0) rounds.push({ layer: this.whole, runs: whole });
    const layer = this.detail;
    if (layer) {
      const detail = runs.filter((run) => isStale(layer, run));
      if (detail.length > 0) rounds.push({ layer, runs: detail });
    }
    return rounds;
  }

  private async fetch(
    rounds: { layer: Layer; runs: string[] }[],
    flight: AbortController,
  ): Promise<void> {
    try {
      await Promise.all(rounds.map(({ layer, runs }) => this.fill(layer, runs, flight.signal)));
      if (this.flight !== flight) return;
      this.flight = null;
      this.settle("ready");
      // What advanced meanwhile waits for the next tick; a run that was just shown does not.
      const next = this.lacking();
      if (next.some(({ layer, runs }) => runs.some((run) => !layer.held.has(run)))) this.sync();
      else if (next.length > 0) this.live.nudge();
    } catch (error) {
      if (this.flight !== flight) return;
      this.flight = null;
      if (flight.signal.aborted) return;
      this.error = error;
      this.settle("error");
    }
  }

  private async fill(layer: Layer, runs: string[], signal: AbortSignal): Promise<void> {
    const { buckets } = this.want;
    const revisions = new Map(runs.map((run) => [run, this.live.revision(run)]));
    const load = (range: Range | null) =>
      this.source.load({ project: this.project, runs, key: this.key, range, buckets }, signal);
    let curves = await load(layer.range);
    const narrow = coarseSpan(curves, buckets);
    if (narrow) curves = await load(narrow);
    if (signal.aborted) return;
    const arrived = new Map(curves.map((curve) => [curve.run, curve]));
    for (const [run, revision] of revisions) {
      layer.held.set(run, { curve: arrived.get(run) ?? null, revision });
    }
    layer.buckets = buckets;
    this.settle(this.status === "error" ? "ready" : this.status);
  }

  private settle(status: FeedStatus): void {
    this.status = status;
    this.onChange();
  }
}
