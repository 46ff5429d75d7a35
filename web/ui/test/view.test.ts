import { describe, expect, it } from "vitest";
import { leaves, valueAt } from "../src/api/paths";
import { chooseRuns, NO_VALUE, toSeries } from "../src/state/choose";
import { Colours, colourOf, PALETTE_SIZE } from "../src/state/palette";
import { matcher } from "../src/state/search";
import {
  EMPTY_VIEW,
  FIRST_RUNS,
  firstRuns,
  formatView,
  isShown,
  lacksEntity,
  onlyRuns,
  parseView,
  type View,
  withEntity,
  withRun,
} from "../src/state/url";
import { runOf } from "./runs";

describe("the address", () => {
  it("of the default view is empty", () => {
    expect(formatView(EMPTY_VIEW)).toBe("");
    expect(parseView("")).toEqual(EMPTY_VIEW);
  });

  it("may omit the entity", () => {
    const asked = parseView("?project=-/p&run=r").project;
    if (asked === null) throw new Error("no project");
    expect(lacksEntity(asked)).toBe(true);
    const of = (entity: string, project = "p") => ({ entity, project });
    expect(withEntity(asked, [of("a"), of("me"), of("b")], "me")).toEqual(of("me"));
    expect(withEntity(asked, [of("a"), of("me", "q")], "me")).toEqual(of("a"));
    expect(withEntity(asked, [], "me")).toEqual(of("me"));
    expect(withEntity(of("x"), [of("me")], "me")).toEqual(of("x"));
  });

  it("holds the whole view", () => {
    const view: View = {
      project: { entity: "lab", project: "a/b c&d" },
      isList: false,
      run: "r,1",
      tab: "logs",
      compare: ["a", "b&c"],
      isTable: true,
      search: "adam",
      filter: 'config.lr > 1e-3 and name ~ "a|b"',
      sort: "-summary.train/loss",
      columns: [
        { path: "config.lr", width: 120, isPinned: true },
        { path: "summary.a@b", width: null, isPinned: false },
      ],
      selection: { most: 50, only: false, shown: new Set(["x,1"]), hidden: new Set(["y"]) },
      x: "relative",
      range: { from: 1.5, to: 2000.25 },
      smoothing: 0.6,
      ignoreOutliers: true,
      group: "config.optimizer.name",
      band: "range",
      ranks: "mean",
      panelSearch: "loss.*",
      pinned: ["b", "a"],
      log: new Set(["train/loss"]),
      full: "train/loss",
    };
    expect(parseView(formatView(view))).toEqual(view);
    expect(Object.keys(view)).toEqual(Object.keys(EMPTY_VIEW));
  });

  it("holds a selection of runs, even an empty one", () => {
    const none = { ...EMPTY_VIEW, selection: onlyRuns(FIRST_RUNS, []) };
    expect(parseView(formatView(none)).selection).toEqual(none.selection);
    const only = { ...EMPTY_VIEW, selection: onlyRuns(FIRST_RUNS, ["a"]) };
    expect(formatView(only)).toBe("?only=a");
    expect(parseView(formatView(only)).selection).toEqual(only.selection);
  });

  it("survives nonsense", () => {
    const view = parseView("?project=lonely&zoom=9-3&search=&smooth=7&x=z&most=a&sort=&col=");
    const { columns, sort, x } = view;
    expect([view.project, view.range, view.search]).toEqual([null, null, ""]);
    expect([columns, sort, x, view.smoothing]).toEqual([null, "-created_at", "step", 0.999]);
    expect(view.selection).toEqual(FIRST_RUNS);
  });
});

describe("selection", () => {
  it("has the first runs, unless one is shown or hidden by hand", () => {
    expect([0, 19, 20, null].map((place) => isShown(FIRST_RUNS, "a", place))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    const shown = withRun(FIRST_RUNS, "a", true);
    expect(isShown(shown, "a", 5_000)).toBe(true);
    const hidden = withRun(shown, "a", false);
    expect(isShown(hidden, "a", 0)).toBe(false);
    expect(isShown(withRun(hidden, "a", true), "a", 0)).toBe(true);
  });

  it("of a few runs excludes the others", () => {
    const only = onlyRuns(FIRST_RUNS, ["a"]);
    expect([isShown(only, "a", 7), isShown(only, "b", 0)]).toEqual([true, false]);
    expect(isShown(withRun(only, "a", false), "a", 0)).toBe(false);
    expect(firstRuns(50)).toEqual({ ...FIRST_RUNS, most: 50 });
  });
});

describe("search", () => {
  it("accepts plain text, expressions and incomplete ones", () => {
    expect(matcher("")("anything")).toBe(true);
    expect(matcher("LOSS")("train/loss")).toBe(true);
    expect(matcher("loss|acc")("eval/acc")).toBe(true);
    expect(matcher("^train")("eval/train")).toBe(false);
    expect(matcher("a+b")("x a+b")).toBe(true);
    expect(matcher("(unfinished")("some (unfinished text")).toBe(true);
  });
});

describe("values", () => {
  const run = runOf("a", {
    config: { lr: 0.1, opt: { name: "adam", "a.b": { c: 1 } }, list: [1] },
    summary: { "train/loss": 2, "x.y": 3 },
  });

  it("are found by path, also with dots in keys", () => {
    const paths = ["config.lr", "config.opt.name", "config.opt.a.b.c", "summary.x.y", "state"];
    expect(paths.map((path) => valueAt(run, path))).toEqual([0.1, "adam", 1, 3, "finished"]);
    expect(valueAt(run, "config.opt.none")).toBeUndefined();
    expect(valueAt(run, "config.lr.deeper")).toBeUndefined();
  });

  it("are listed leaf by leaf", () => {
    const { config } = run;
    expect(leaves(config).map(([path]) => path)).toEqual(["lr", "opt.name", "opt.a.b.c", "list"]);
    expect(leaves({})).toEqual([]);
  });
});

describe("runs", () => {
  it("are selected: the first of the query, and those shown by hand", () => {
    const first = [runOf("c"), runOf("b"), runOf("a")];
    const selection = withRun(withRun(FIRST_RUNS, "b", false), "z", true);
    const ids = (limit: number) =>
      chooseRuns(first, [runOf("z"), runOf("c")], selection, limit).map(({ run }) => run);
    expect(ids(10)).toEqual(["z", "c", "a"]);
    expect(ids(2)).toEqual(["z", "c"]);
  });

  it("are a series each, the oldest first", () => {
    const runs = [runOf("new", { created_at: 2 }), runOf("old", { created_at: 1 })];
    expect(toSeries(runs, null).map(({ id }) => id)).toEqual(["old", "new"]);
  });

  it("are grouped by value, in the order of numbers", () => {
    const runs = [10, 9, 1e-5, undefined, 9].map((lr, i) => runOf(`r${i}`, { config: { lr } }));
    const groups = toSeries(runs, "config.lr");
    expect(groups.find(({ id }) => id === "9")?.runs).toEqual(["r1", "r4"]);
    expect(groups.map(({ id }) => id)).toEqual(["0.00001", "9", "10", NO_VALUE]);
  });

  it("keep their colours when others are added, and differ from neighbours", () => {
    const colours = new Colours();
    const ids = Array.from({ length: PALETTE_SIZE }, (_, i) => `r${i}`);
    const before = colours.assign(ids);
    expect(new Set(before.values()).size).toBe(PALETTE_SIZE);
    const after = colours.assign(["new", ...ids.slice(1)]);
    for (const id of ids.slice(1)) expect(after.get(id)).toBe(before.get(id));
    // The one whose run went is free.
    expect(after.get("new")).toBe(before.get("r0"));
    for (const isDark of [false, true]) {
      const seen = new Set([...before.values()].map((index) => colourOf(index, isDark)));
      expect(seen.size).toBe(PALETTE_SIZE);
    }
  });
});
