/**
 * The curves of one panel. Fetches what is missing or stale and keeps the rest: hiding a run costs
 * nothing, showing it again fetches at most that run, and old data stays until new data arrives.
 * A series is a run or a group of runs, which is stale as soon as one of its runs is.
 *
 * While zoomed, a feed holds finer buckets of the range beside the whole curve, which fills the edges
 * and makes zooming out instant.
 */

import type { ChartOptions } from "../api/chartOptions";
import type { Series } from "../api/curves";
import type { Curve, ProjectRef, Range } from "../api/types";
import { groupBy } from "../util/groupBy";
import type { Coalescer } from "./coalesce";
import { coarseSpan, splice } from "./curve";

export interface FeedRequest {
  chartOptions: ChartOptions;
  series: readonly Series[];
  range: Range | null;
  buckets: number;
}

export type FeedStatus = "loading" | "ready" | "error";

/** What was loaded for one series: a curve, or one per rank. */
interface Loaded {
  curves: readonly Curve[];
  runs: readonly string[];
  revision: number;
}

interface Layer {
  range: Range | null;
  buckets: number;
  loaded: Map<string, Loaded>;
}

interface Load {
  layer: Layer;
  series: Series[];
}

export interface Revisioned {
  revision(run: string): number;
  nudge(): void;
}

const sameRange = (a: Range | null, b: Range | null) => a?.from === b?.from && a?.to === b?.to;
const sameOptions = (a: ChartOptions, b: ChartOptions) =>
  a.x === b.x && a.ranks === b.ranks && a.isGrouped === b.isGrouped;
const sameRuns = (a: readonly string[], b: readonly string[]) =>
  a === b || (a.length === b.length && a.every((run, i) => run === b[i]));
const newLayer = (range: Range | null): Layer => ({ range, buckets: 0, loaded: new Map() });

const NOTHING: FeedRequest = {
  chartOptions: { x: "step", ranks: "together", isGrouped: false },
  series: [],
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
  private wanted = NOTHING;
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

  /** Sets what to show and fetches it. */
  request(wanted: FeedRequest): void {
    const isOther = !sameOptions(wanted.chartOptions, this.wanted.chartOptions);
    if (
      isOther ||
      !sameRange(wanted.range, this.wanted.range) ||
      wanted.buckets !== this.wanted.buckets
    ) {
      this.flight?.abort();
      this.flight = null;
    }
    if (isOther) this.forget();
    this.wanted = wanted;
    if (!sameRange(wanted.range, this.detail?.range ?? null)) {
      this.detail = wanted.range && newLayer(wanted.range);
    }
    this.isPaused = false;
    this.sync();
  }

  /** Stops fetching while out of view; keeps the data. */
  pause(): void {
    this.isPaused = true;
    this.flight?.abort();
    this.flight = null;
    this.onChange = () => {};
  }

  /** The requested curves in the order of the series; fewer while loading. */
  curves(): Curve[] {
    const curves: Curve[] = [];
    const range = this.detail?.range;
    for (const { id } of this.wanted.series) {
      const whole = this.whole.loaded.get(id)?.curves ?? [];
      const detail = range && this.detail?.loaded.get(id)?.curves;
      const shown = detail ? spliceAll(whole, detail, range) : whole;
      for (const curve of shown) if (curve.x.length > 0) curves.push(curve);
    }
    return curves;
  }

  /** Fetches what is missing, one batch of loads at a time. */
  sync(): void {
    if (this.isPaused || this.flight) return;
    const loads = this.missing();
    if (loads.length === 0) {
      this.setStatus("ready");
      return;
    }
    const isFresh = loads.some(({ layer, series }) =>
      series.some(({ id }) => !layer.loaded.has(id)),
    );
    if (isFresh && this.status === "ready" && this.curves().length === 0) this.setStatus("loading");
    const flight = new AbortController();
    this.flight = flight;
    void this.fetch(loads, flight);
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

  private revision({ runs }: Series): number {
    return runs.reduce((most, run) => Math.max(most, this.live.revision(run)), 0);
  }

  private isStale(layer: Layer, one: Series): boolean {
    const loaded = layer.loaded.get(one.id);
    return (
      loaded === undefined ||
      layer.buckets !== this.wanted.buckets ||
      loaded.revision !== this.revision(one) ||
      !sameRuns(loaded.runs, one.runs)
    );
  }

  private missing(): Load[] {
    const { series, range } = this.wanted;
    const loads: Load[] = [];
    // While zoomed, a stale whole curve is good enough.
    const whole = series.filter((one) =>
      range ? !this.whole.loaded.has(one.id) : this.isStale(this.whole, one),
    );
    if (whole.length > 0) loads.push({ layer: this.whole, series: whole });
    const layer = this.detail;
    if (layer) {
      const detail = series.filter((one) => this.isStale(layer, one));
      if (detail.length > 0) loads.push({ layer, series: detail });
    }
    return loads;
  }

  private async fetch(loads: Load[], flight: AbortController): Promise<void> {
    try {
      await Promise.all(loads.map((load) => this.fill(load, flight.signal)));
      if (this.flight !== flight) return;
      this.flight = null;
      this.setStatus("ready");
      // New points wait for the next tick; a run that was just shown does not.
      const next = this.missing();
      if (next.some(({ layer, series }) => series.some(({ id }) => !layer.loaded.has(id)))) {
        this.sync();
      } else if (next.length > 0) this.live.nudge();
    } catch (error) {
      if (this.flight !== flight) return;
      this.flight = null;
      if (flight.signal.aborted) return;
      this.error = error;
      this.setStatus("error");
    }
  }

  private async fill({ layer, series }: Load, signal: AbortSignal): Promise<void> {
    const { buckets, chartOptions } = this.wanted;
    const revisions = series.map((one) => this.revision(one));
    const request = { project: this.project, chartOptions, series, key: this.key, buckets };
    const load = (range: Range | null) => this.source.load({ ...request, range }, signal);
    let curves = await load(layer.range);
    const narrow = chartOptions.x === "step" ? coarseSpan(curves, buckets) : null;
    if (narrow) curves = await load(narrow);
    if (signal.aborted) return;
    const arrived = groupBy(curves, ({ id }) => id);
    for (const [i, { id, runs }] of series.entries()) {
      layer.loaded.set(id, { curves: arrived.get(id) ?? [], runs, revision: revisions[i] });
    }
    layer.buckets = buckets;
    this.setStatus(this.status === "error" ? "ready" : this.status);
  }

  private setStatus(status: FeedStatus): void {
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
