import { describe, expect, it } from "vitest";
import type { ChartOptions } from "../src/api/chartOptions";
import type { ChartsRequest, Series } from "../src/api/curves";
import type { Curve } from "../src/api/types";
import { Coalescer, keysPerRequest } from "../src/charts/coalesce";
import { Feed } from "../src/charts/feed";
import { Revisions } from "../src/state/live";
import { curveOf, tick } from "./curves";

const project = { entity: "lab", project: "p" };
const chartOptions: ChartOptions = { x: "step", ranks: "together", isGrouped: false };
const seriesOf = (...runs: string[]): Series[] => runs.map((run) => ({ id: run, runs: [run] }));
const ids = ({ series }: ChartsRequest) => series.map(({ id }) => id);

/** A server that records requests, and responds on `answer()` or at once. */
function fakeServer(isHeld = false) {
  const asks: ChartsRequest[] = [];
  const held: (() => void)[] = [];
  const fetch = async (ask: ChartsRequest, signal: AbortSignal) => {
    asks.push(ask);
    if (isHeld) await new Promise<void>((resolve) => held.push(resolve));
    signal.throwIfAborted();
    const curves = ask.series.map(({ id }) => curveOf(id, [1, 2, 3], [1, 2, 3]));
    return new Map<string, Curve[]>(ask.keys.map((key) => [key, curves]));
  };
  return { asks, fetch, answer: () => held.splice(0).forEach((resolve) => void resolve()) };
}

class FakeLive {
  nudges = 0;
  readonly revisions = new Map<string, number>();
  revision(run: string) {
    return this.revisions.get(run) ?? 0;
  }
  nudge() {
    this.nudges += 1;
  }
}

describe("coalescing", () => {
  const ask = (key: string, series = seriesOf("a", "b")) => ({
    project,
    chartOptions,
    key,
    series,
    range: null,
    buckets: 100,
  });

  it("puts panels that ask at once into one request", async () => {
    const { asks, fetch } = fakeServer();
    const source = new Coalescer(fetch);
    const { signal } = new AbortController();
    const curves = await Promise.all([
      source.load(ask("x"), signal),
      source.load(ask("y"), signal),
    ]);
    expect(asks.map(({ keys }) => keys)).toEqual([["x", "y"]]);
    expect(curves[1].map(({ id }) => id)).toEqual(["a", "b"]);
  });

  it("splits by runs and by number of keys, three requests at a time", async () => {
    const { asks, fetch, answer } = fakeServer(true);
    const source = new Coalescer(fetch);
    const { signal } = new AbortController();
    const keys = Array.from({ length: 80 }, (_, i) => `k${i}`);
    const all = [
      ...keys.map((key) => source.load(ask(key), signal)),
      source.load(ask("x", seriesOf("c")), signal),
    ];
    await tick();
    expect(asks).toHaveLength(3);
    const done = Promise.all(all);
    for (let round = 0; round < 4; round++) {
      answer();
      await tick();
    }
    await done;
    expect(asks.map((one) => one.keys.length)).toEqual([24, 24, 24, 8, 1]);
  });

  it("limits the size of a request", () => {
    expect(keysPerRequest(1, 500)).toBe(24);
    expect(keysPerRequest(100, 500)).toBe(4);
    expect(keysPerRequest(200, 10_000)).toBe(1);
  });

  it("does not send cancelled requests", async () => {
    const { asks, fetch } = fakeServer();
    const abort = new AbortController();
    const loading = new Coalescer(fetch).load(ask("x"), abort.signal);
    abort.abort();
    await expect(loading).rejects.toThrow();
    expect(asks).toHaveLength(0);
  });
});

describe("a feed", () => {
  function makeFeed(isHeld = false) {
    const server = fakeServer(isHeld);
    const live = new FakeLive();
    const feed = new Feed("loss", project, new Coalescer(server.fetch), live);
    const settle = async () => {
      for (let i = 0; i < 4; i++) await tick();
    };
    return { ...server, live, feed, settle };
  }
  const want = { chartOptions, series: seriesOf("a", "b"), range: null, buckets: 100 };

  it("fetches once; hiding and showing runs fetches only new ones", async () => {
    const { feed, asks, settle } = makeFeed();
    feed.request(want);
    await settle();
    expect(feed.status).toBe("ready");
    feed.request({ ...want, series: seriesOf("a") });
    expect(feed.curves().map(({ id }) => id)).toEqual(["a"]);
    feed.request({ ...want, series: seriesOf("a", "b", "c") });
    await settle();
    expect(asks.map(ids)).toEqual([["a", "b"], ["c"]]);
    expect(feed.curves()).toHaveLength(3);
  });

  it("refetches runs that advanced, and keeps the old curves meanwhile", async () => {
    const { feed, asks, live, settle, answer } = makeFeed(true);
    feed.request(want);
    await settle();
    answer();
    await settle();
    live.revisions.set("b", 1);
    feed.sync();
    await settle();
    expect(asks.at(-1)?.series).toEqual(seriesOf("b"));
    expect(feed.curves()).toHaveLength(2);
    live.revisions.set("b", 2);
    answer();
    await settle();
    expect(live.nudges).toBe(1);
  });

  it("fetches finer buckets when zoomed, and nothing when zooming out", async () => {
    const { feed, asks, settle } = makeFeed();
    feed.request(want);
    await settle();
    feed.request({ ...want, range: { from: 2, to: 3 } });
    await settle();
    expect(asks.at(-1)?.range).toEqual({ from: 2, to: 3 });
    feed.request(want);
    await settle();
    expect(asks).toHaveLength(2);
  });

  it("refetches a group when one of its runs advances, is added or removed", async () => {
    const { feed, asks, live, settle } = makeFeed();
    const grouped = { ...want, chartOptions: { ...chartOptions, isGrouped: true } };
    const series = [
      { id: "x", runs: ["a", "b"] },
      { id: "y", runs: ["c"] },
    ];
    feed.request({ ...grouped, series });
    await settle();
    live.revisions.set("b", 1);
    feed.sync();
    await settle();
    feed.request({ ...grouped, series: [series[0], { id: "y", runs: ["c", "d"] }] });
    await settle();
    expect(asks.map(ids)).toEqual([["x", "y"], ["x"], ["y"]]);
  });

  it("drops curves with other chart options", async () => {
    const { feed, asks, settle } = makeFeed();
    feed.request(want);
    await settle();
    feed.request({ ...want, chartOptions: { ...chartOptions, x: "time" } });
    expect(feed.curves()).toEqual([]);
    await settle();
    expect(asks.at(-1)?.chartOptions.x).toBe("time");
    expect(feed.curves()).toHaveLength(2);
  });

  it("fetches nothing while out of view", async () => {
    const { feed, asks, settle } = makeFeed();
    feed.request(want);
    feed.pause();
    feed.sync();
    await settle();
    expect(asks).toHaveLength(0);
  });
});

describe("revisions", () => {
  it("grow for runs that advanced", () => {
    const revisions = new Revisions();
    expect(revisions.take({ n: 1, runs: { a: 10 } })).toBe(true);
    expect(revisions.of("a")).toBeGreaterThan(revisions.of("b"));
  });

  it("grow for all runs after a gap", () => {
    const revisions = new Revisions();
    revisions.take({ n: 1, runs: { a: 10 } });
    const before = revisions.of("b");
    expect(revisions.take({ n: 2 })).toBe(true);
    expect(revisions.take({ n: 4 })).toBe(false);
    expect(revisions.of("b")).toBeGreaterThan(before);
    expect(revisions.take({ n: 5 })).toBe(true);
  });
});
