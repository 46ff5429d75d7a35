import { describe, expect, it } from "vitest";
import {
  formatAge,
  formatStep,
  formatValue,
  logTickLabel,
  rankName,
  tickLabels,
} from "../src/util/format";

describe("values", () => {
  it.each([
    [0, "0"],
    [0.123456, "0.1235"],
    [0.5, "0.5000"],
    [42, "42"],
    [2411.23, "2,411.2"],
    [1234567, "1.235e6"],
    [0.00001234, "1.234e−5"],
    [-3, "−3"],
    [-0.25, "−0.2500"],
    [Number.NaN, "NaN"],
    [Number.POSITIVE_INFINITY, "∞"],
    [Number.NEGATIVE_INFINITY, "−∞"],
  ])("%d is %s", (value, text) => expect(formatValue(value)).toBe(text));

  it("groups steps", () => expect(formatStep(1234567)).toBe("1,234,567"));
});

describe("ticks", () => {
  it.each([
    [
      [0, 5000, 10000, 15000],
      ["0", "5k", "10k", "15k"],
    ],
    [
      [0.25, 0.5, 0.75, 1],
      ["0.25", "0.5", "0.75", "1"],
    ],
    [
      [10000, 10500, 11000],
      ["10k", "10.5k", "11k"],
    ],
    [
      [2000, 2200],
      ["2000", "2200"],
    ],
    [
      [0, 5e-6, 1e-5],
      ["0", "5e−6", "1e−5"],
    ],
    [
      [-2e6, 0, 2e6],
      ["−2M", "0", "2M"],
    ],
    [
      [100, 200],
      ["100", "200"],
    ],
  ])("%j are %j", (ticks, labels) => expect(tickLabels(ticks)).toEqual(labels));

  it("of a logarithmic axis are formatted one by one", () => {
    expect([1e-5, 0.01, 1, 20, 1e5].map(logTickLabel)).toEqual(["1e−5", "0.01", "1", "20", "1e5"]);
  });
});

describe("ages", () => {
  it.each([
    [3, "now"],
    [42, "42s"],
    [60, "1m"],
    [7200, "2h"],
    [3 * 86_400, "3d"],
    [40 * 86_400, "1mo"],
    [800 * 86_400, "2y"],
    [-5, "now"],
  ])("%d s is %s", (age, text) => expect(formatAge(1000, 1000 + age)).toBe(text));
});

describe("ranks", () => {
  it.each([
    [0, "rank 0"],
    [12, "rank 12"],
    [2 ** 30, "rank 0"],
    [2 ** 30 + 8, "rank 8"],
  ])("%d is %s", (rank, text) => expect(rankName(rank)).toBe(text));
});
