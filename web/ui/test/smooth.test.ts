import { describe, expect, it } from "vitest";
import { smoothed } from "../src/charts/smooth";
import { curveOf } from "./curves";

describe("smoothing", () => {
  const steps = Array.from({ length: 1_001 }, (_, i) => i);

  it("does not change a constant, from the first point on", () => {
    const line = smoothed(curveOf("a", [0, 5, 9], [3, 3, 3]), 0.9);
    for (const value of line) expect(value).toBeCloseTo(3);
  });

  it("is a debiased average", () => {
    const line = smoothed(
      curveOf(
        "a",
        steps,
        steps.map((i) => (i === 0 ? 1 : 0)),
      ),
      0.25,
    );
    // sqrt(0.25) = 0.5 between neighbours: 1, 0.5 / 1.5, 0.25 / 1.75, …
    expect([...line.subarray(0, 3)]).toEqual(
      [1, 0.5 / 1.5, 0.25 / 1.75].map((v) => expect.closeTo(v)),
    );
  });

  it("depends on distance, not on the number of points", () => {
    const wave = (i: number) => Math.sin(i / 150);
    const all = smoothed(curveOf("a", steps, steps.map(wave)), 0.9);
    const even = steps.filter((i) => i % 2 === 0);
    const half = smoothed(curveOf("b", even, even.map(wave)), 0.9);
    expect(half[250]).toBeCloseTo(all[500], 2);
  });

  it("continues after a gap", () => {
    const line = smoothed(curveOf("a", [0, 1, 2], [1, Number.NaN, 1]), 0.5);
    expect([...line]).toEqual([1, Number.NaN, 1]);
  });
});
