/**
 * One event stream per page, which reports runs with new points. Each run has a revision that grows with
 * new points; panels with older data refetch at the next tick. Ticks are at least 250 ms apart. After a
 * gap in the numbering or a reconnection all revisions grow, so that nothing stays stale.
 */

import { apiUrl, segments } from "../api/http";
import type { ProjectRef } from "../api/types";
import { parseJson } from "../util/json";
import { createStore } from "./store";

const TICK_MS = 250;
const RETRY_MS = 3_000;

export type LiveStatus = "connecting" | "live" | "reconnecting";

export interface LiveEvent {
  n: number;
  runs?: Record<string, number>;
  changed?: string[];
  deleted?: string[];
}

/** Revisions of runs, separate from the connection for testing. */
export class Revisions {
  private counter = 0;
  private epoch = 0;
  private expected: number | null = null;
  private readonly ofRun = new Map<string, number>();

  of(run: string): number {
    return Math.max(this.epoch, this.ofRun.get(run) ?? 0);
  }

  advanceAll(): void {
    this.counter += 1;
    this.epoch = this.counter;
    this.expected = null;
  }

  /** Returns false if events were missed; then all revisions have grown. */
  take({ n, runs = {} }: LiveEvent): boolean {
    const inOrder = this.expected === null || n === this.expected;
    if (!inOrder) this.advanceAll();
    this.expected = n + 1;
    this.counter += 1;
    for (const run of Object.keys(runs)) this.ofRun.set(run, this.counter);
    return inOrder;
  }
}

export interface LiveListener {
  /** Runs have new points; their last steps. */
  advanced(lastSteps: Record<string, number>): void;
  /** Runs changed or are new; null: possibly all of them. */
  changed(runs: string[] | null): void;
  /** Runs were deleted. */
  deleted(runs: string[]): void;
}

export class Live {
  readonly status = createStore<LiveStatus>("connecting");
  /** Grows when stale panels should refetch. */
  readonly tick = createStore(0);
  private readonly revisions = new Revisions();
  private readonly url: string;
  private readonly listener: LiveListener;
  private source: EventSource | null = null;
  private tickTimer: ReturnType<typeof setTimeout> | undefined;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private lastTickAt = 0;

  constructor({ entity, project }: ProjectRef, listener: LiveListener) {
    this.url = apiUrl(`projects/${segments(entity, project)}/events`);
    this.listener = listener;
  }

  revision(run: string): number {
    return this.revisions.of(run);
  }

  open(): void {
    const source = new EventSource(this.url);
    this.source = source;
    source.onopen = () => {
      // Also on the first connection: data fetched before it may be outdated.
      this.missed();
      this.status.set("live");
    };
    source.onmessage = ({ data }: MessageEvent<string>) => this.take(parseJson(data) as LiveEvent);
    source.onerror = () => {
      this.status.set("reconnecting");
      if (source.readyState !== EventSource.CLOSED) return;
      // The browser gave up (an error status), so reconnect here.
      clearTimeout(this.retryTimer);
      this.retryTimer = setTimeout(() => this.open(), RETRY_MS);
    };
  }

  close(): void {
    this.source?.close();
    clearTimeout(this.tickTimer);
    clearTimeout(this.retryTimer);
  }

  /** Schedules a tick, at once if the last is long enough ago. */
  nudge = (): void => {
    if (this.tickTimer !== undefined) return;
    const wait = Math.max(0, this.lastTickAt + TICK_MS - performance.now());
    this.tickTimer = setTimeout(() => {
      this.tickTimer = undefined;
      this.lastTickAt = performance.now();
      this.tick.set(this.tick.get() + 1);
    }, wait);
  };

  private missed(): void {
    this.revisions.advanceAll();
    this.listener.changed(null);
    this.nudge();
  }

  private take(event: LiveEvent): void {
    if (!this.revisions.take(event)) this.listener.changed(null);
    if (event.changed?.length) this.listener.changed(event.changed);
    if (event.deleted?.length) this.listener.deleted(event.deleted);
    if (event.runs) this.listener.advanced(event.runs);
    this.nudge();
  }
}
