import { encode } from "@msgpack/msgpack";
import { describe, expect, it } from "vitest";
import { type ChartsRequest, chartsBody, column, decodeCharts } from "../src/api/curves";
import { apiUrl, segments } from "../src/api/http";

const bin = (...values: number[]) => new Uint8Array(Float64Array.from(values).buffer);

describe("addresses", () => {
  it("are relative to where the page is served", () => {
    expect(apiUrl("projects", "https://host/")).toBe("https://host/v1/projects");
    expect(apiUrl("projects", "https://host/ml/penstock/?project=a/b#c")).toBe(
      "https://host/ml/penstock/v1/projects",
    );
  });

  it("escape names", () => {
    expect(segments("team a", "x/y?")).toBe("team%20a/x%2Fy%3F");
  });
});

describe("charts", () => {
  it("copies a column from any offset", () => {
    const padded = new Uint8Array(8 * 2 + 3);
    padded.set(bin(1.5, Number.NaN), 3);
    expect([...column(padded.subarray(3))]).toEqual([1.5, Number.NaN]);
  });

  it("decodes series by key", () => {
    const one = (run: string, key: string) => ({
      run,
      key,
      lane: null,
      rank: null,
      step: bin(3, 7),
      x: bin(3, 7),
      min: bin(0, Number.NaN),
      max: bin(2, Number.NaN),
      mean: bin(1, Number.NaN),
      last: bin(2, Number.NaN),
      count: bin(4, 0),
      non_finite: bin(0, 4),
      first_step: bin(0, 4),
    });
    const body = encode({
      width: 4,
      series: [one("a", "loss"), one("b", "loss"), one("a", "acc")],
    });
    const curves = decodeCharts(body.slice().buffer, "step");
    expect([...curves.keys()]).toEqual(["loss", "acc"]);
    const [a, b] = curves.get("loss") ?? [];
    expect([a.id, b.id, a.width]).toEqual(["a", "b", 4]);
    expect([...a.x]).toEqual([3, 7]);
    expect([...a.nonFinite]).toEqual([0, 4]);
    expect(a.mean[1]).toBeNaN();
  });

  it("names groups by label, and knows where buckets start on a time axis", () => {
    const one = {
      group: "lr=0.1",
      run: null,
      key: "loss",
      step: bin(3, 7),
      x: bin(10, 20),
      min: bin(0, 0),
      max: bin(2, 2),
      mean: bin(1, 1),
      std: bin(0.5, Number.NaN),
      non_finite: bin(0, 0),
      first_step: bin(0, 4),
    };
    const body = encode({ width: 4, series: [one] });
    const [curve] = decodeCharts(body.slice().buffer, "relative").get("loss") ?? [];
    expect([curve.id, curve.std?.[0]]).toEqual(["lr=0.1", 0.5]);
    expect([...curve.firstX]).toEqual([10, 10]);
    expect([...curve.firstStep]).toEqual([0, 4]);
  });

  it("asks for runs, groups and ranks", () => {
    const ask: ChartsRequest = {
      project: { entity: "lab", project: "p" },
      chartOptions: { x: "step", ranks: "together", isGrouped: false },
      series: [{ id: "a", runs: ["a"] }],
      keys: ["loss"],
      range: null,
      buckets: 100,
    };
    const plain = { entity: "lab", project: "p", runs: ["a"], keys: ["loss"], buckets: 100 };
    expect(chartsBody(ask)).toEqual(plain);
    const time = chartsBody({
      ...ask,
      chartOptions: { x: "time", ranks: "mean", isGrouped: false },
    });
    expect(time).toEqual({ ...plain, x: "_timestamp", aggregate: "ranks" });
    const each = chartsBody({
      ...ask,
      chartOptions: { x: "step", ranks: "each", isGrouped: false },
    });
    expect(each).toEqual({ ...plain, lanes: "rank" });
    const { runs: _, ...rest } = plain;
    const grouped = chartsBody({
      ...ask,
      chartOptions: { x: "step", ranks: "mean", isGrouped: true },
    });
    expect(grouped).toEqual({ ...rest, groups: { a: ["a"] } });
  });
});
