import { describe, expect, it } from "vitest";
import { formatX, ticks } from "../src/charts/axis";
import { formatDuration } from "../src/util/time";

describe("the x axis", () => {
  it("formats durations as precisely as the ticks", () => {
    expect(ticks("relative", [0, 1_800, 3_600, 5_400], 1_800)).toEqual([
      "0",
      "30m",
      "1h",
      "1h 30m",
    ]);
    expect(ticks("relative", [0, 0.5, 1], 0.5)).toEqual(["0", "0.5s", "1s"]);
    expect(ticks("relative", [-60, 90_000], 30)).toEqual(["−1m", "1d 1h"]);
  });

  it("formats times, and days where they start", () => {
    const midnight = new Date(2026, 10, 23).getTime() / 1000;
    const at = [midnight - 3_600, midnight, midnight + 3_600];
    expect(ticks("time", at, 3_600)).toEqual(["23:00", "Nov 23", "01:00"]);
    expect(ticks("time", [midnight + 30], 1)).toEqual(["00:00:30"]);
  });

  it("formats steps", () => {
    expect(ticks("step", [0, 5_000, 10_000], 5_000)).toEqual(["0", "5k", "10k"]);
    expect(formatX("step", 1_234)).toBe("1,234");
  });

  it("rounds durations for reading", () => {
    expect([0.25, 42, 3_900, 100_000, 300_000].map(formatDuration)).toEqual([
      "0.25s",
      "42s",
      "1h 5m",
      "1d 3h 46m",
      "3d 11h",
    ]);
  });
});
