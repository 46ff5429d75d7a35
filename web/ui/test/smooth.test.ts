import { describe, expect, it } from "vitest";
import { smoothed } from "../src/charts/smooth";
import { curveOf } from "./curves";

describe("smoothing", () => {
  const steps = Array.from({ length: 1_001 }, (_, i) => i);

  it("leaves a constant as it is, from the first point on", () => {
    const line = smoothed(curveOf("a", [0, 5, 9], [3, 3, 3]), 0.9);
    for (const value of line) expect(value).toBeCloseTo(3);
  });

  it("is the average that the weight says, debiased", () => {
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

  it("counts distance, not points: half of the points say the same", () => {
    const wave = (i: number) => Math.sin(i / 150);
    const all = smoothed(curveOf("a", steps, steps.map(wave)), 0.9);
    const even = steps.filter((i) => i % 2 === 0);
    const half = smoothed(curveOf("b", even, even.map(wave)), 0.9);
    expect(half[250]).toBeCloseTo(all[500], 2);
  });

  it("has a gap where there is no number, and goes on after it", () => {
    const line = smoothed(curveOf("a", [0, 1, 2], [1, Number.NaN, 1]), 0.5);
    expect([...line]).toEqual([1, Number.NaN, 1]);
  });
});
