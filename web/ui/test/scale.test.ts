import { describe, expect, it } from "vitest";
import type { CurveStyle } from "../src/charts/paint";
import { nearestSeries, readAt, snap } from "../src/charts/readout";
import {
  bucketsFor,
  domain,
  type Frame,
  padded,
  projectX,
  projectY,
  wholeBuckets,
  zoomOf,
} from "../src/charts/scale";
import { windowAround } from "../src/charts/window";
import { curveOf } from "./curves";

const frame: Frame = {
  x: { from: 0, to: 100 },
  y: { low: 0, high: 10 },
  log: false,
  width: 200,
  height: 100,
  ratio: 1,
};

const style: CurveStyle = { smoothing: 0, band: "std" };

describe("projection", () => {
  it("is linear in x and y, from the bottom", () => {
    expect(projectX(frame)(25)).toBe(50);
    expect([0, 5, 10].map(projectY(frame))).toEqual([100, 50, 0]);
  });

  it("is logarithmic, with values ≤ 0 below the axis", () => {
    const py = projectY({ ...frame, log: true, y: { low: 0.01, high: 1 } });
    expect(py(0.1)).toBeCloseTo(50);
    expect(py(0)).toBe(200);
  });

  it("keeps far values near the canvas", () => {
    expect(projectY(frame)(1e300)).toBe(-100);
  });
});

describe("axes", () => {
  it("have padding, even around a constant", () => {
    expect(padded({ low: 0, high: 100 }, false)).toEqual({ low: -6, high: 106 });
    expect(padded({ low: 0, high: 0 }, false)).toEqual({ low: -1, high: 1 });
    const log = padded({ low: 1, high: 1 }, true);
    expect(log.low).toBeLessThan(1);
    expect(log.high).toBeGreaterThan(1);
  });

  it("of a panel match the page unless its curves are much shorter", () => {
    const page = { from: 0, to: 1000 };
    expect(domain({ from: 100, to: 990 }, page)).toEqual(page);
    expect(domain({ from: 0, to: 50 }, page)).toEqual({ from: 0, to: 50 });
    expect(domain({ from: 3, to: 3 }, null)).toEqual({ from: 2, to: 4 });
    expect(domain({ from: 0, to: 0 }, null)).toEqual({ from: 0, to: 1 });
    expect(domain(null, null)).toEqual({ from: 0, to: 1 });
  });

  it("zoom to whole steps, or to milliseconds", () => {
    expect(zoomOf("step", 10.7, 3.2)).toEqual({ from: 3, to: 11 });
    expect(zoomOf("step", 5.1, 5.2)).toEqual({ from: 5, to: 6 });
    expect(zoomOf("step", -3, 0)).toEqual({ from: 0, to: 1 });
    expect(zoomOf("relative", 1.23456, 9)).toEqual({ from: 1.234, to: 9 });
  });

  it("use a bucket per two device pixels, within the limits of the server", () => {
    expect(bucketsFor(330, 1)).toBe(150);
    expect(bucketsFor(330, 2)).toBe(300);
    expect(bucketsFor(10, 1)).toBe(50);
    expect(bucketsFor(1e6, 1)).toBe(10_000);
  });
});

describe("readout", () => {
  const curves = [
    curveOf("low", [0, 50, 100], [1, 1, 1]),
    curveOf("high", [0, 50, 100], [9, 9, 9]),
    curveOf("ended", [0, 10], [5, 5]),
    curveOf("broken", [50], [Number.NaN]),
  ];

  it("lists the highest first, NaN last, without curves that have ended", () => {
    expect(readAt(curves, frame, style, 51).map(({ id }) => id)).toEqual(["high", "low", "broken"]);
  });

  it("snaps to the nearest step", () => {
    expect(snap(readAt(curves, frame, style, 51), 51)).toBe(50);
    expect(snap([], 51)).toBe(51);
  });

  it("finds the nearest line, also between points", () => {
    expect(nearestSeries(curves, frame, style, { left: 60, top: 88 })).toBe("low");
    expect(nearestSeries(curves, frame, style, { left: 60, top: 12 })).toBe("high");
    const steep = [curveOf("steep", [0, 100], [0, 10])];
    expect(nearestSeries(steep, { ...frame, height: 1000 }, style, { left: 100, top: 500 })).toBe(
      "steep",
    );
    expect(
      nearestSeries(steep, { ...frame, height: 1000 }, style, { left: 100, top: 100 }),
    ).toBeNull();
  });

  it("shows rows around the highlighted one", () => {
    const rows = Array.from({ length: 30 }, (_, i) => ({ id: `r${i}` }));
    expect(windowAround(rows, "r20", 10).start).toBe(15);
    expect(windowAround(rows, "r29", 10).start).toBe(20);
    expect(windowAround(rows, null, 10).start).toBe(0);
    expect(windowAround(rows.slice(0, 3), "r1", 10).shown).toHaveLength(3);
  });
});

describe("whole buckets", () => {
  it("widen a range to buckets of the smallest sufficient power of two", () => {
    expect(wholeBuckets({ from: 10, to: 20 }, 100)).toEqual({ from: 10, to: 20 });
    expect(wholeBuckets({ from: 1_000, to: 9_000 }, 100)).toEqual({ from: 896, to: 9_087 });
    expect(wholeBuckets({ from: -5, to: 3 }, 2)).toEqual({ from: -8, to: 7 });
  });

  it("cover the range with at most the requested number", () => {
    const range = { from: 123_456, to: 98_765_432 };
    const { from, to } = wholeBuckets(range, 500);
    expect(from <= range.from && to >= range.to).toBe(true);
    const width = 2 ** Math.ceil(Math.log2((to - from + 1) / 500));
    expect(from % width).toBe(0);
    expect((to + 1) % width).toBe(0);
  });
});
