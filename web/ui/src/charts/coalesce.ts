/**
 * Fetches curves for many panels with few requests. Panels that ask in the same tick for the same series,
 * range and resolution share a request, split so that none grows too large. Few requests are in flight
 * at once: with HTTP/1.1 a page has six connections, and the event stream uses one.
 */

import type { ChartsRequest } from "../api/curves";
import type { Curve } from "../api/types";
import { groupBy } from "../util/groupBy";

export type PanelRequest = Omit<ChartsRequest, "keys"> & { key: string };
type Fetch = (request: ChartsRequest, signal: AbortSignal) => Promise<Map<string, Curve[]>>;

interface Waiter {
  request: PanelRequest;
  signal: AbortSignal;
  resolve(curves: Curve[]): void;
  reject(error: unknown): void;
}

const MAX_IN_FLIGHT = 3;
const MAX_KEYS = 24;
const MAX_BUCKETS_PER_REQUEST = 200_000;

export function keysPerRequest(runs: number, buckets: number): number {
  const fitting = Math.floor(MAX_BUCKETS_PER_REQUEST / Math.max(1, runs * buckets));
  return Math.max(1, Math.min(MAX_KEYS, fitting));
}

function groupOf({ project, chartOptions, series, range, buckets }: PanelRequest): string {
  return JSON.stringify([project.entity, project.project, chartOptions, series, range, buckets]);
}

export class Coalescer {
  private readonly fetch: Fetch;
  private waiting: Waiter[] = [];
  private ready: Waiter[][] = [];
  private inFlight = 0;

  constructor(fetch: Fetch) {
    this.fetch = fetch;
  }

  load(request: PanelRequest, signal: AbortSignal): Promise<Curve[]> {
    return new Promise((resolve, reject) => {
      if (this.waiting.length === 0) setTimeout(() => this.gather());
      this.waiting.push({ request, signal, resolve, reject });
    });
  }

  private gather(): void {
    for (const group of groupBy(this.waiting, ({ request }) => groupOf(request)).values()) {
      const size = keysPerRequest(group[0].request.series.length, group[0].request.buckets);
      for (let at = 0; at < group.length; at += size) this.ready.push(group.slice(at, at + size));
    }
    this.waiting = [];
    this.pump();
  }

  private pump(): void {
    while (this.inFlight < MAX_IN_FLIGHT) {
      const waiters = this.ready.shift()?.filter(stillWanted);
      if (waiters === undefined) return;
      if (waiters.length > 0) void this.send(waiters);
    }
  }

  private async send(waiters: Waiter[]): Promise<void> {
    const abort = new AbortController();
    const onAbort = () => {
      if (waiters.every(({ signal }) => signal.aborted)) abort.abort();
    };
    for (const { signal } of waiters) signal.addEventListener("abort", onAbort);
    this.inFlight += 1;
    try {
      const { key: _, ...shared } = waiters[0].request;
      const keys = [...new Set(waiters.map(({ request }) => request.key))];
      const curves = await this.fetch({ ...shared, keys }, abort.signal);
      for (const { request, resolve } of waiters) resolve(curves.get(request.key) ?? []);
    } catch (error) {
      for (const { reject } of waiters) reject(error);
    } finally {
      for (const { signal } of waiters) signal.removeEventListener("abort", onAbort);
      this.inFlight -= 1;
      this.pump();
    }
  }
}

function stillWanted(waiter: Waiter): boolean {
  if (!waiter.signal.aborted) return true;
  waiter.reject(waiter.signal.reason);
  return false;
}
