import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, it } from "vitest";
import { PanelKinds } from "../src/panels/model/kinds";
import { isChartKey, keysOf, type Logged, loggedKey } from "../src/panels/model/logged";
import type { PanelKind } from "../src/panels/model/panel";
import { type Row, toRows } from "../src/panels/model/rows";
import { splitKey, toSections } from "../src/panels/model/sections";
import { PanelFrame } from "../src/panels/PanelFrame";
import { registry } from "../src/panels/registry";
import { matcher } from "../src/state/search";
import { parseView } from "../src/state/url";

const clockKind: PanelKind<{ city: string }> = {
  name: "clock",
  height: 100,
  columns: () => 1,
  shows: ["clock-file"],
  optionsOf: ({ key }) => ({ city: key.toUpperCase() }),
  Body: ({ panel, isFull }) => `${isFull ? "big" : "small"} clock of ${panel.options.city}`,
};
const withClock = new PanelKinds([...registry.all, clockKind]);

const logged = (
  metrics: readonly string[],
  media: Record<string, readonly string[]> = {},
): Logged => ({ metrics: new Set(metrics), media: new Map(Object.entries(media)) });

interface Shown {
  kinds?: PanelKinds;
  columns?: number;
  collapsed?: readonly string[];
  link?: string;
}

/** The rows as the page makes them. */
function rowsOf(
  found: Logged,
  { kinds = registry, columns = 3, collapsed = [], link = "" }: Shown = {},
): Row[] {
  const { panelSearch, pinned, log } = parseView(link);
  return toRows(toSections(keysOf(found).filter(matcher(panelSearch)), pinned), {
    kinds,
    columns,
    collapsed: new Set(collapsed),
    loggedKey: (key) => loggedKey(key, found, log),
  });
}

const panelsIn = (row: Row) => (row.kind === "head" ? [] : row.panels);

/** `a` of a section, `chart a/x` of a panel. */
const namesIn = (row: Row) =>
  row.kind === "head" ? row.section.name : row.panels.map(({ kind, keys }) => `${kind} ${keys}`);

/** The panel in full screen that a link opens. */
function opened(link: string, found: Logged) {
  const { full, log } = parseView(link);
  if (full === null) throw new Error("the link opens no panel");
  return registry.panelOf(loggedKey(full, found, log));
}

describe("sections", () => {
  it("group by the first part, in natural order, system metrics last", () => {
    const sections = toSections(["train/l10", "system/gpu", "loss", "train/l9", "zeta/a/b"]);
    expect(sections.map(({ name }) => name)).toEqual(["", "train", "zeta", "system"]);
    expect(sections[1].keys).toEqual(["train/l9", "train/l10"]);
  });

  it("put pinned keys on top, in the order of pinning", () => {
    const [top, ...rest] = toSections(["a/x", "a/y", "b"], ["b", "gone", "a/y"]);
    expect([top.name, top.keys]).toEqual(["Pinned", ["b", "a/y"]]);
    expect(rest.map(({ keys }) => keys)).toEqual([["a/x"]]);
  });

  it("split keys", () => {
    expect(splitKey("a/b/c")).toEqual(["a", "b/c"]);
    expect(splitKey("/a")).toEqual(["", "/a"]);
  });

  it("are of all logged keys, each once, without those of clients", () => {
    expect(keysOf(logged(["a", "b"], { b: ["histogram"], c: ["histogram"] }))).toEqual([
      "a",
      "b",
      "c",
    ]);
    expect(keysOf({ metrics: null, media: null })).toEqual([]);
    expect(["loss", "_runtime", "system._timestamp"].filter(isChartKey)).toEqual(["loss"]);
  });
});

describe("rows", () => {
  it("hold as many panels as there are columns, and none of collapsed sections", () => {
    const found = logged(["a/1", "a/2", "a/3", "b/1"]);
    const counts = (collapsed: string[]) =>
      rowsOf(found, { columns: 2, collapsed }).map((row) =>
        row.kind === "head" ? row.section.name : row.panels.length,
      );
    expect(counts([])).toEqual(["a", 2, 1, "b", 1]);
    expect(counts(["a"])).toEqual(["a", "b", 1]);
  });

  it("have media after the charts of their section, whatever their kinds, and fewer of them", () => {
    const found = logged(["a/loss", "a/both"], {
      "a/image": ["image-file"],
      "a/table": ["table-file"],
      "a/both": ["histogram"],
    });
    expect(rowsOf(found).map(namesIn)).toEqual([
      "a",
      ["chart a/both", "chart a/loss"],
      ["histogram a/both", "images a/image"],
      ["table a/table"],
    ]);
    const columns = (most: number) =>
      rowsOf(found, { columns: most }).flatMap((row) => (row.kind === "head" ? [] : [row.columns]));
    expect(columns(4)).toEqual([4, 3]);
    expect(columns(1)).toEqual([1, 1, 1, 1, 1]);
  });

  it("are as high as their kinds, and the gap below", () => {
    const found = logged(["loss"], { image: ["image-file"] });
    expect(rowsOf(found).map(({ height }) => height)).toEqual([40, 252 + 12, 380 + 12]);
  });

  it("and panels are told apart by their ids", () => {
    const found = logged(["a/x", "a/y", "x"], { "a/x": ["histogram"], x: ["image-file"] });
    const rows = rowsOf(found, { link: "?pin=a/x" });
    for (const ids of [rows, rows.flatMap(panelsIn)].map((all) => all.map(({ id }) => id))) {
      expect(new Set(ids).size).toBe(ids.length);
    }
  });
});

describe("the registry", () => {
  const kindsFor = (...mediaKinds: string[]) =>
    rowsOf(logged([], { key: mediaKinds }))
      .flatMap(panelsIn)
      .map(({ kind }) => kind);

  it("has kinds with different names, for different media", () => {
    const names = registry.all.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    const media = registry.all.flatMap(({ shows }) => (typeof shows === "string" ? [] : shows));
    expect(new Set(media).size).toBe(media.length);
    expect(registry.all.filter(({ shows }) => shows === "other media")).toHaveLength(1);
  });

  it("has one panel for the media of a key, of the most specific kind", () => {
    expect(kindsFor("image-file")).toEqual(["images"]);
    expect(kindsFor("graph-file", "table-file")).toEqual(["table"]);
    expect(kindsFor("image-file", "table-file")).toEqual(["images"]);
    expect(kindsFor("molecule-file")).toEqual(["other"]);
    expect(kindsFor()).toEqual(["other"]);
  });

  it("does not know panels of other kinds", () => {
    const panel = { id: "p", kind: "clock", keys: ["a"] as const, options: {} };
    expect(withClock.kindOf(panel)).toBe(clockKind);
    expect(() => registry.kindOf(panel)).toThrow("no panels of kind clock");
  });
});

describe("a new kind of panel", () => {
  const found = logged(["a/loss"], {
    "a/image": ["image-file"],
    "a/oslo": ["clock-file"],
    "a/rome": ["clock-file"],
  });

  it("needs no more than a place in the registry", () => {
    const rows = rowsOf(found, { kinds: withClock });
    expect(rows.map((row) => [namesIn(row), row.height])).toEqual([
      ["a", 40],
      [["chart a/loss"], 264],
      [["images a/image"], 392],
      [["clock a/oslo"], 112],
      [["clock a/rome"], 112],
    ]);
    expect(
      rowsOf(found)
        .flatMap(panelsIn)
        .map(({ kind }) => kind),
    ).toContain("other");
  });

  it("may show metrics too, beside their charts", () => {
    const gauge: PanelKind = { ...clockKind, name: "gauge", shows: "metrics" };
    const kinds = new PanelKinds([...registry.all, gauge]);
    expect(rowsOf(logged(["loss"]), { kinds }).map(namesIn)).toEqual([
      "",
      ["chart loss"],
      ["gauge loss"],
    ]);
  });

  it("has the frame of all panels, as high as its kind or as the screen", () => {
    const panel = withClock.panelOf(loggedKey("a/oslo", found, new Set()));
    const markup = (isFull: boolean) =>
      renderToStaticMarkup(createElement(PanelFrame, { panel, kind: clockKind, isFull }));
    const small = markup(false);
    expect(small).toContain(
      '<article class="panel" style="height:100px" data-panel="a/oslo" aria-label="a/oslo" tabindex="0">',
    );
    expect(small).toContain('<span class="panel-prefix">a/</span>oslo</h3>');
    expect(small).toContain('aria-label="Pin a/oslo to the top" aria-pressed="false"');
    expect(small).toContain('aria-label="Show a/oslo full screen"');
    expect(small).toContain("</header>small clock of A/OSLO</article>");
    const full = markup(true);
    expect(full).toContain('<article class="panel is-full" data-panel="a/oslo"');
    expect(full).toContain('aria-label="Close full screen"');
    expect(full).toContain("</header>big clock of A/OSLO</article>");
  });
});

describe("links of earlier versions", () => {
  const found = logged(["a/loss", "a/both"], {
    "a/both": ["histogram"],
    "a/image": ["image-file"],
  });

  it("open the panel of a key, and the chart of a key with both", () => {
    expect(opened("?full=a/loss", found)).toMatchObject({ kind: "chart", keys: ["a/loss"] });
    expect(opened("?full=a/image", found)).toMatchObject({ kind: "images", keys: ["a/image"] });
    expect(opened("?full=a/both", found)).toMatchObject({ kind: "chart", keys: ["a/both"] });
  });

  it("open a chart until the key is known", () => {
    const unknown: Logged = { metrics: null, media: null };
    expect(opened("?full=a/image", unknown)).toMatchObject({ kind: "chart", keys: ["a/image"] });
    expect(opened("?full=gone", found)).toMatchObject({ kind: "chart", keys: ["gone"] });
  });

  it("pin, search and scale panels by key", () => {
    const link = "?panels=both|loss&pin=a/both&log=a/loss";
    const rows = rowsOf(found, { link });
    expect(rows.map(namesIn)).toEqual([
      "Pinned",
      ["chart a/both"],
      ["histogram a/both"],
      "a",
      ["chart a/loss"],
    ]);
    const charts = rows.flatMap(panelsIn).filter(({ kind }) => kind === "chart");
    expect(charts.map(({ options }) => options)).toEqual([{ isLog: false }, { isLog: true }]);
    expect(opened(`${link}&full=a/loss`, found).options).toEqual({ isLog: true });
  });
});
