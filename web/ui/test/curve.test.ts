import { describe, expect, it } from "vitest";
import {
  coarseSpan,
  extent,
  extentWithoutOutliers,
  indexNear,
  lowerBound,
  span,
  splice,
} from "../src/charts/curve";
import { curveOf } from "./curves";

describe("lookup", () => {
  const xs = Float64Array.of(0, 10, 20);

  it("finds bounds", () => {
    expect([-1, 0, 5, 20, 21].map((x) => lowerBound(xs, x))).toEqual([0, 0, 1, 2, 3]);
  });

  it("finds the nearest bucket, but not beyond a curve's ends", () => {
    expect([4, 6, 22, 24, -4].map((x) => indexNear(xs, x, 3))).toEqual([0, 1, 2, -1, -1]);
    expect(indexNear(new Float64Array(), 0, 3)).toBe(-1);
  });
});

describe("splice", () => {
  const whole = curveOf("a", [63, 127, 191, 255], [1, 2, 3, 4], 64);

  it("keeps coarse buckets only if entirely outside the range", () => {
    const detail = curveOf("a", [103, 111, 119, 127, 135, 143], [2, 2, 2, 2, 3, 3], 8);
    const curve = splice(whole, detail, { from: 96, to: 143 });
    expect([...(curve?.x ?? [])]).toEqual([63, 103, 111, 119, 127, 135, 143, 255]);
    expect(curve?.width).toBe(8);
  });

  it("joins both sides if the range has no points", () => {
    const sparse = curveOf("a", [0, 500, 1000], [1, 2, 3]);
    expect([...(splice(sparse, null, { from: 600, to: 900 })?.x ?? [])]).toEqual([0, 500, 1000]);
    expect(splice(null, null, { from: 0, to: 1 })).toBeNull();
  });
});

describe("extent", () => {
  const wild = { ...curveOf("a", [0, 1, 2, 3], [1, 2, Number.NaN, 3]) };
  wild.max = Float64Array.of(1, 50, Number.NaN, 3);
  wild.min = Float64Array.of(1, -5, Number.NaN, 3);

  it("spans the extremes within the range", () => {
    expect(extent([wild], { from: 0, to: 3 }, false)).toEqual({ low: -5, high: 50 });
    expect(extent([wild], { from: 2, to: 3 }, false)).toEqual({ low: 3, high: 3 });
    expect(extent([wild], { from: 2, to: 2 }, false)).toBeNull();
  });

  it("can exclude outliers", () => {
    const steps = Array.from({ length: 101 }, (_, i) => i);
    const spiky = curveOf("a", steps, steps.with(50, 1e6));
    expect(extentWithoutOutliers([spiky], { from: 0, to: 100 }, false)).toEqual({
      low: 5,
      high: 96,
    });
    expect(extentWithoutOutliers([], { from: 0, to: 1 }, false)).toBeNull();
  });

  it("uses only positive values for a logarithmic axis", () => {
    expect(extent([wild], { from: 0, to: 3 }, true)).toEqual({ low: 1, high: 50 });
    expect(extent([curveOf("a", [0, 1], [-1, 0])], { from: 0, to: 1 }, true)).toBeNull();
  });
});

describe("span", () => {
  it("covers all curves except empty ones", () => {
    expect(span([curveOf("a", [5, 9], [0, 0]), curveOf("b", [], [])])).toEqual({ from: 5, to: 9 });
    expect(span([])).toBeNull();
  });

  it("detects curves that are much shorter than others in a request", () => {
    expect(coarseSpan([curveOf("a", [127], [1], 128)], 200)).toEqual({ from: 0, to: 127 });
    expect(coarseSpan([curveOf("a", [127, 99_999], [1, 1], 128)], 200)).toBeNull();
    expect(coarseSpan([curveOf("a", [1, 2], [1, 1])], 200)).toBeNull();
  });
});
