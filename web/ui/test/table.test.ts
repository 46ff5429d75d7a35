import { describe, expect, it } from "vitest";
import type { Field } from "../src/api/types";
import { compare, curveDifferences } from "../src/pages/compare/compare";
import { branches } from "../src/pages/run/branches";
import {
  column,
  defaultColumns,
  fieldsOf,
  MAX_WIDTH,
  MIN_WIDTH,
  moved,
  pinned,
  place,
  resized,
  toggledColumn,
} from "../src/pages/table/columns";
import { runOf } from "./runs";

const paths = (columns: readonly { path: string }[]) => columns.map(({ path }) => path);

describe("columns", () => {
  const columns = ["a", "b", "c"].map(column);

  it("are by default the fields that differ", () => {
    const fields: Field[] = [
      { path: "config.same", kinds: ["number"], runs: 9, min: 1, max: 1, values: [1] },
      { path: "config.lr", kinds: ["number"], runs: 5, min: 1, max: 2 },
      { path: "config.opt", kinds: ["string"], runs: 9, values: ["a", "b"] },
      { path: "summary.loss", kinds: ["number"], runs: 9 },
      { path: "summary._timestamp", kinds: ["number"], runs: 9 },
      { path: "summary.note", kinds: ["string"], runs: 9 },
    ];
    const usual = ["state", "created_at", "config.opt", "config.lr", "summary.loss"];
    expect(paths(defaultColumns(fields))).toEqual(usual);
    expect(fieldsOf(defaultColumns(fields))).toEqual(["config.lr", "config.opt", "summary.loss"]);
  });

  it("are wide enough for all digits of whole numbers", () => {
    const field = (max: number) => [
      { path: "config.seed", kinds: ["number" as const], runs: 1, min: 0, max },
    ];
    const seed = [{ path: "config.seed", width: null, isPinned: false }];
    const px = (max: number) => place(seed, 200, field(max))[0].px;
    expect(px(1e6)).toBe(116);
    expect(px(4.6e18)).toBeGreaterThan(19 * 8);
    expect(px(1e300)).toBeLessThan(200);
    expect(place([{ ...seed[0], width: 60 }], 200, field(4.6e18))[0].px).toBe(60);
  });

  it("are placed side by side, pinned ones first", () => {
    const placed = place(resized(pinned(columns, "c"), "c", 50), 200);
    expect(placed.map(({ path, left }) => [path, left])).toEqual([
      ["c", 200],
      ["a", 250],
      ["b", 366],
    ]);
  });

  it("are moved, added, removed and resized within limits", () => {
    expect(paths(moved(columns, "c", "a"))).toEqual(["c", "a", "b"]);
    expect(paths(moved(columns, "a", "c"))).toEqual(["b", "c", "a"]);
    expect(paths(moved(columns, "x", "a"))).toEqual(["a", "b", "c"]);
    expect(paths(toggledColumn(columns, "b"))).toEqual(["a", "c"]);
    expect(paths(toggledColumn(columns, "d"))).toEqual(["a", "b", "c", "d"]);
    const widths = [1, 9_999].map((px) => resized(columns, "a", px)[0].width);
    expect(widths).toEqual([MIN_WIDTH, MAX_WIDTH]);
  });
});

describe("a tree", () => {
  it("does not split paths with a single leaf", () => {
    const tree = branches(
      [
        ["a.b", 1],
        ["a.c.d", 2],
        ["e.f", 3],
      ],
      ".",
    );
    expect(tree.map(({ name }) => name)).toEqual(["a", "e.f"]);
    expect(tree[0].branches.map(({ name, value }) => [name, value])).toEqual([
      ["b", 1],
      ["c.d", 2],
    ]);
  });

  it("shows keys that are prefixes of others", () => {
    const tree = branches(
      [
        ["loss", 1],
        ["loss/a", 2],
        ["loss/b", 3],
      ],
      "/",
    );
    expect(tree.map(({ name, value, branches: below }) => [name, value, below.length])).toEqual([
      ["loss", 1, 0],
      ["loss/", undefined, 2],
    ]);
  });
});

describe("a comparison", () => {
  const runs = [
    runOf("a", { config: { lr: 0.1, opt: { name: "adam" } }, summary: { loss: 1 } }),
    runOf("b", { config: { lr: 0.2, opt: { name: "adam" }, extra: null }, summary: { loss: 1 } }),
  ];

  it("has a row per path and marks equal values", () => {
    const [config, summary] = compare(runs);
    expect(config.rows.map(({ path, texts, isSame }) => [path, texts, isSame])).toEqual([
      ["lr", ["0.1", "0.2"], false],
      ["opt.name", ["adam", "adam"], true],
    ]);
    expect(summary.rows.map(({ path, isSame }) => [path, isSame])).toEqual([["loss", true]]);
  });

  it("lists the first difference of each metric", () => {
    const keys = [{ key: "loss", step: 1_200, rank: 0, a: 0.5, b: "NaN" }];
    const { rows } = curveDifferences({ step: 1_200, keys, compared: 1, only_a: [], only_b: [] });
    expect(rows).toEqual([{ path: "loss at step 1,200", texts: ["0.5000", "NaN"], isSame: false }]);
  });
});
