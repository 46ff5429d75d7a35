import { describe, expect, it } from "vitest";
import { toTree } from "../src/pages/files/tree";
import { boundsOf, columnAt, densities } from "../src/panels/media/heat";
import {
  boxesOf,
  filesOf,
  histogramOf,
  parseLoosely,
  sortedRows,
  tableOf,
  unionOfSteps,
} from "../src/panels/media/values";
import { baseName, formatBytes } from "../src/util/files";

describe("logged media", () => {
  it("has one file, or several of a list", () => {
    const mask = { pred: { _type: "mask", path: "m.png" } };
    const [one] = filesOf({ path: "a.png", width: 4, height: 2, caption: "hi", masks: mask });
    expect(one).toMatchObject({ path: "a.png", width: 4, height: 2, caption: "hi" });
    expect(one.masks).toEqual([{ group: "pred", path: "m.png", sha256: undefined }]);
    const list = { filenames: ["a.png", "b.png"], captions: ["x"], width: 8, height: 8 };
    expect(filesOf(list).map(({ path, caption }) => [path, caption])).toEqual([
      ["a.png", "x"],
      ["b.png", ""],
    ]);
    for (const bad of [null, 1, "a", [], {}, { path: 3 }, { filenames: [1, null] }]) {
      expect(filesOf(bad)).toEqual([]);
    }
  });

  it("reads histograms with edges or packed bins", () => {
    const edges = [0, 0.5, 1];
    expect(histogramOf({ values: [1, 3], bins: edges })).toEqual({ counts: [1, 3], edges });
    const packedBins = { min: 0, size: 0.5, count: 2 };
    expect(histogramOf({ values: [1, 3], packedBins })).toEqual({ counts: [1, 3], edges });
    expect(histogramOf({ values: [1, 3], bins: [0, 1] })).toBeNull();
    expect(histogramOf({ values: ["NaN"], bins: [0, 1] })).toBeNull();
    expect(histogramOf({ values: [1], bins: ["NaN", 1] })).toBeNull();
    expect(histogramOf({ values: [], bins: [0] })).toBeNull();
  });

  it("draws bins by density", () => {
    const histogram = { counts: [2, 2], edges: [0, 1, 3] };
    expect(densities(histogram)).toEqual([0.5, 0.25]);
    expect(boundsOf([{ step: 0, histogram }])).toEqual({ low: 0, high: 3 });
    const flat = { counts: [5], edges: [2, 2] };
    expect(boundsOf([{ step: 0, histogram: flat }])).toEqual({ low: 1.5, high: 2.5 });
    const columns = [0, 1, 2, 3].map((step) => ({ step, histogram }));
    expect([0, 0.49, 0.5, 1].map((share) => columnAt(columns, share))).toEqual([0, 1, 2, 3]);
  });

  it("reads tables with NaN", () => {
    const text = '{"columns": ["a", 1], "data": [[NaN, "NaN, -Infinity"], [-Infinity, "\\"NaN"]]}';
    expect(tableOf(text)).toEqual({
      columns: ["a", "1"],
      rows: [
        ["NaN", "NaN, -Infinity"],
        ["-Infinity", '"NaN'],
      ],
    });
    expect(() => tableOf("[]")).toThrow("not contain a table");
    expect(() => parseLoosely("{")).toThrow();
  });

  it("sorts rows: numbers, then text, then empty cells", () => {
    const rows = [[null], ["b10"], [2], ["b9"], [10]];
    const table = { columns: ["x"], rows };
    const column = (isDescending: boolean) => sortedRows(table, 0, isDescending).map(([x]) => x);
    expect(column(false)).toEqual([2, 10, "b9", "b10", null]);
    expect(column(true)).toEqual(["b10", "b9", 10, 2, null]);
    expect(rows[0]).toEqual([null]);
  });

  it("merges the steps of several runs", () => {
    expect(unionOfSteps([{ steps: [0, 10] }, { steps: [-1, 10, 2] }])).toEqual([-1, 0, 2, 10]);
  });

  it("places boxes by fractions of the image", () => {
    const box = (fields: object) => boxesOf(JSON.stringify({ box_data: [fields] }), 100, 50);
    const position = { minX: 10, maxX: 30, minY: 5, maxY: 25 };
    expect(box({ position, domain: "pixel", class_id: 3, box_caption: "cat" })).toEqual([
      { left: 0.1, top: 0.1, width: 0.2, height: 0.4, label: "cat", classId: 3 },
    ]);
    const middle = { middle: [0.5, 0.5], width: 0.5, height: 1 };
    expect(box({ position: middle })[0]).toMatchObject({ left: 0.25, top: 0, width: 0.5 });
    expect(box({ position: { minX: 1 } })).toEqual([]);
    expect(box({})).toEqual([]);
  });
});

describe("files", () => {
  it("form a tree, folders first, with sizes", () => {
    const file = (name: string, size_bytes: number) => ({
      name,
      size_bytes,
      content_type: "text/plain",
      sha256: "",
      updated_at: 0,
    });
    const tree = toTree([file("b/c/2.txt", 1), file("b/c/10.txt", 2), file("a.txt", 4)]);
    expect([tree.count, tree.bytes]).toEqual([3, 7]);
    expect(tree.files.map(({ name }) => name)).toEqual(["a.txt"]);
    const [b] = tree.folders;
    const [c] = b.folders;
    expect([b.path, b.bytes, c.path]).toEqual(["b", 3, "b/c"]);
    expect(c.files.map(({ name }) => baseName(name))).toEqual(["2.txt", "10.txt"]);
  });

  it("have readable sizes", () => {
    const sizes = [0, 999, 1_000, 44_144, 999_600, 1_234_567, 5e12];
    expect(sizes.map(formatBytes)).toEqual([
      "0 B",
      "999 B",
      "1.0 kB",
      "44.1 kB",
      "1.0 MB",
      "1.2 MB",
      "5.0 TB",
    ]);
  });
});
