import { describe, expect, it } from "vitest";
import type { Run } from "../src/api/types";
import { splitKey, toSections } from "../src/charts/sections";
import { chooseRuns, MAX_DRAWN } from "../src/runs/choose";
import { assignColours, colourOf, PALETTE_SIZE } from "../src/runs/palette";
import { matcher, searchText } from "../src/state/search";
import {
  ALL_RUNS,
  EMPTY_VIEW,
  formatView,
  isShown,
  parseView,
  toggled,
  withRuns,
} from "../src/state/url";

function runOf(run: string, over: Partial<Run> = {}): Run {
  return {
    entity: "lab",
    project: "p",
    run,
    name: `name-${run}`,
    state: "finished",
    group: null,
    job_type: null,
    tags: [],
    notes: null,
    config: {},
    summary: {},
    created_at: 0,
    updated_at: 0,
    last_step: 10,
    ...over,
  };
}

describe("the address", () => {
  it("of the plain view is empty", () => {
    expect(formatView(EMPTY_VIEW)).toBe("");
    expect(parseView("")).toEqual(EMPTY_VIEW);
  });

  it("holds the whole view", () => {
    const view = {
      project: { entity: "lab", project: "a/b c&d" },
      selection: { base: "all" as const, except: new Set(["x,1", "y"]) },
      range: { from: 100, to: 2000 },
      runSearch: "lr=0.1|adam",
      panelSearch: "loss.*",
      log: new Set(["train/loss"]),
      full: "train/loss",
    };
    expect(parseView(formatView(view))).toEqual(view);
  });

  it("holds a selection by exception, even one of no run", () => {
    const none = { ...EMPTY_VIEW, selection: { base: "none" as const, except: new Set<string>() } };
    expect(parseView(formatView(none)).selection).toEqual(none.selection);
    const only = { ...EMPTY_VIEW, selection: { base: "none" as const, except: new Set(["a"]) } };
    expect(formatView(only)).toBe("?only=a");
    expect(parseView(formatView(only)).selection).toEqual(only.selection);
  });

  it("survives nonsense", () => {
    const view = parseView("?project=lonely&steps=9-3&runs=");
    expect([view.project, view.range, view.runSearch]).toEqual([null, null, ""]);
  });
});

describe("selection", () => {
  it("toggles runs", () => {
    const hidden = toggled(ALL_RUNS, "a");
    expect([isShown(hidden, "a"), isShown(hidden, "b")]).toEqual([false, true]);
    expect(toggled(hidden, "a")).toEqual(ALL_RUNS);
  });

  it("sets several", () => {
    const none = withRuns(ALL_RUNS, [], false, true);
    expect(isShown(none, "new")).toBe(false);
    const some = withRuns(none, ["a", "b"], true, false);
    expect(["a", "b", "c"].map((run) => isShown(some, run))).toEqual([true, true, false]);
    expect(withRuns(some, ["a", "b"], false, false)).toEqual(none);
  });
});

describe("search", () => {
  it("takes plain text, expressions, and what is not yet one", () => {
    expect(matcher("")("anything")).toBe(true);
    expect(matcher("LOSS")("train/loss")).toBe(true);
    expect(matcher("loss|acc")("eval/acc")).toBe(true);
    expect(matcher("^train")("eval/train")).toBe(false);
    expect(matcher("a+b")("x a+b")).toBe(true);
    expect(matcher("(unfinished")("some (unfinished text")).toBe(true);
  });

  it("finds runs by config, tags and state", () => {
    const run = runOf("a", { config: { lr: 0.01, opt: { name: "adam" } }, tags: ["best"] });
    for (const query of ["lr=0.01", "adam", "best", "finished", "^name-a$"]) {
      const isMatch = matcher(query);
      expect(isMatch(searchText(run))).toBe(true);
    }
  });
});

describe("runs", () => {
  it("are listed by search, drawn by selection, oldest first", () => {
    const runs = [runOf("c"), runOf("b", { last_step: 99 }), runOf("a")];
    const chosen = chooseRuns(runs, "name-[ab]", toggled(ALL_RUNS, "a"));
    expect(chosen.listed.map(({ run }) => run)).toEqual(["b", "a"]);
    expect(chosen.drawn).toEqual(["b"]);
    expect(chosen.domain).toEqual({ from: 0, to: 99 });
    expect(chooseRuns(runs, "", ALL_RUNS).drawn).toEqual(["a", "b", "c"]);
  });

  it("are drawn up to a limit that is told", () => {
    const runs = Array.from({ length: MAX_DRAWN + 5 }, (_, i) => runOf(`r${i}`));
    const chosen = chooseRuns(runs, "", ALL_RUNS);
    expect([chosen.drawn.length, chosen.leftOut]).toEqual([MAX_DRAWN, 5]);
  });

  it("have colours that stay when others come, and differ among neighbours", () => {
    const runs = Array.from({ length: PALETTE_SIZE }, (_, i) => runOf(`r${i}`, { created_at: i }));
    const before = assignColours(runs);
    const after = assignColours([runOf("new", { created_at: 99 }), ...runs.toReversed()]);
    for (const { run } of runs) expect(after.get(run)).toBe(before.get(run));
    for (const isDark of [false, true]) {
      const colours = new Set([...before.values()].map((index) => colourOf(index, isDark)));
      expect(colours.size).toBe(PALETTE_SIZE);
    }
  });
});

describe("sections", () => {
  it("group by the first part, in natural order, the machine last", () => {
    const sections = toSections(["train/l10", "system/gpu", "loss", "train/l9", "zeta/a/b"]);
    expect(sections.map(({ name }) => name)).toEqual(["", "train", "zeta", "system"]);
    expect(sections[1].keys).toEqual(["train/l9", "train/l10"]);
  });

  it("split keys", () => {
    expect(splitKey("a/b/c")).toEqual(["a", "b/c"]);
    expect(splitKey("/a")).toEqual(["", "/a"]);
  });
});
