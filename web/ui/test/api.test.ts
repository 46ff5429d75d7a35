import { encode } from "@msgpack/msgpack";
import { describe, expect, it } from "vitest";
import { column, decodeCharts } from "../src/api/curves";
import { apiUrl, segments } from "../src/api/http";

const bin = (...values: number[]) => new Uint8Array(Float64Array.from(values).buffer);

describe("addresses", () => {
  it("are relative to where the page is served", () => {
    expect(apiUrl("projects", "https://host/")).toBe("https://host/v1/projects");
    expect(apiUrl("projects", "https://host/ml/penstock/?project=a/b#c")).toBe(
      "https://host/ml/penstock/v1/projects",
    );
  });

  it("escape what names may hold", () => {
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
    const curves = decodeCharts(body.slice().buffer);
    expect([...curves.keys()]).toEqual(["loss", "acc"]);
    const [a, b] = curves.get("loss") ?? [];
    expect([a.run, b.run, a.width]).toEqual(["a", "b", 4]);
    expect([...a.x]).toEqual([3, 7]);
    expect([...a.nonFinite]).toEqual([0, 4]);
    expect(a.mean[1]).toBeNaN();
  });
});
