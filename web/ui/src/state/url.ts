/** The view as a query string, so that a link shows exactly the same view; pure. */

import { BANDS, type Band, RANKS, type Ranks, X_AXES, type XAxis } from "../api/chartOptions";
import type { ProjectRef, Range } from "../api/types";

/**
 * Which runs of the query are drawn: its first `most` except hidden ones, and those selected by hand;
 * with `only`, just the latter.
 */
export interface Selection {
  most: number;
  only: boolean;
  shown: ReadonlySet<string>;
  hidden: ReadonlySet<string>;
}

export interface Column {
  path: string;
  /** CSS pixels; null: the default for its kind. */
  width: number | null;
  isPinned: boolean;
}

/** Tabs of the run page. */
export const TABS = ["charts", "logs", "files", "artifacts"] as const;
export type Tab = (typeof TABS)[number];

export interface View {
  /** null: the list of projects, or the only project. */
  project: ProjectRef | null;
  /** The list of projects, even if there is only one. */
  isList: boolean;
  /** The run whose page is shown. */
  run: string | null;
  tab: Tab;
  /** The runs in the comparison. */
  compare: readonly string[];
  isTable: boolean;
  search: string;
  /** As typed; see `filter/compile.ts` for the language. */
  filter: string;
  /** A path, prefixed with `-` for descending order. */
  sort: string;
  /** null: defaults for the project. */
  columns: readonly Column[] | null;
  selection: Selection;
  x: XAxis;
  /** The zoom, shared by all panels: steps or seconds, depending on `x`. */
  range: Range | null;
  /** 0 … 0.999; 0: off. */
  smoothing: number;
  ignoreOutliers: boolean;
  group: string | null;
  band: Band;
  ranks: Ranks;
  panelSearch: string;
  /** Pinned keys. */
  pinned: readonly string[];
  /** Keys with a logarithmic y axis. */
  log: ReadonlySet<string>;
  /** The key shown in full screen. */
  full: string | null;
}

export const DEFAULT_DRAWN = 20;
/** Curves in one panel; more would be slow and unreadable. */
export const MAX_DRAWN = 200;
/** Runs in all groups together. */
export const MAX_GROUPED = 1_000;
export const MAX_SMOOTHING = 0.999;
export const NEWEST = "-created_at";

const NONE: ReadonlySet<string> = new Set();
export const FIRST_RUNS: Selection = {
  most: DEFAULT_DRAWN,
  only: false,
  shown: NONE,
  hidden: NONE,
};

export const EMPTY_VIEW: View = {
  project: null,
  isList: false,
  run: null,
  tab: TABS[0],
  compare: [],
  isTable: false,
  search: "",
  filter: "",
  sort: NEWEST,
  columns: null,
  selection: FIRST_RUNS,
  x: "step",
  range: null,
  smoothing: 0,
  ignoreOutliers: false,
  group: null,
  band: BANDS[0],
  ranks: "together",
  panelSearch: "",
  pinned: [],
  log: NONE,
  full: null,
};

/** `place`: index of the run in the query; null if unknown. */
export function isShown(selection: Selection, run: string, place: number | null): boolean {
  if (selection.shown.has(run)) return true;
  if (selection.only || selection.hidden.has(run)) return false;
  return place !== null && place < selection.most;
}

export function withRun(selection: Selection, run: string, isOn: boolean): Selection {
  const shown = new Set(selection.shown);
  const hidden = new Set(selection.hidden);
  (isOn ? hidden : shown).delete(run);
  (isOn ? shown : hidden).add(run);
  return { ...selection, shown, hidden: selection.only ? NONE : hidden };
}

export function onlyRuns(selection: Selection, runs: readonly string[]): Selection {
  return { ...selection, only: true, shown: new Set(runs), hidden: NONE };
}

export function firstRuns(most: number): Selection {
  return { ...FIRST_RUNS, most };
}

function parseProject(text: string | null): ProjectRef | null {
  const slash = text?.indexOf("/") ?? -1;
  if (!text || slash < 1 || slash === text.length - 1) return null;
  return { entity: text.slice(0, slash), project: text.slice(slash + 1) };
}

/** Whether the address has no entity: clients print such links if they do not know theirs. */
export function lacksEntity(asked: ProjectRef): boolean {
  return asked.entity === "-";
}

/** The project of an address without an entity: the viewer's own of that name, or else any other. */
export function withEntity(
  asked: ProjectRef,
  projects: readonly ProjectRef[],
  own: string,
): ProjectRef {
  if (!lacksEntity(asked)) return asked;
  const same = projects.filter((each) => each.project === asked.project);
  const found = same.find((each) => each.entity === own) ?? same[0];
  return { entity: found?.entity ?? own, project: asked.project };
}

/** `100-2000`, `1.5-60.25`. */
function parseRange(text: string | null): Range | null {
  const match = /^(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)$/.exec(text ?? "");
  if (!match) return null;
  const [from, to] = [Number(match[1]), Number(match[2])];
  return from < to && to <= Number.MAX_SAFE_INTEGER ? { from, to } : null;
}

/** `config.lr@120!`: path, width and pin. */
function parseColumn(text: string): Column {
  const [, path = text, width, pin] = /^(.+?)(?:@(\d+))?(!)?$/.exec(text) ?? [];
  return { path, width: width ? Number(width) : null, isPinned: pin !== undefined };
}

function formatColumn({ path, width, isPinned }: Column): string {
  return `${path}${width === null ? "" : `@${width}`}${isPinned ? "!" : ""}`;
}

function oneOf<T extends string>(known: readonly T[], text: string | null): T {
  return known.find((each) => each === text) ?? known[0];
}

function numberIn(text: string | null, fallback: number, low: number, high: number): number {
  const found = text === null || text === "" ? Number.NaN : Number(text);
  return Number.isFinite(found) ? Math.min(high, Math.max(low, found)) : fallback;
}

function parseSelection(params: URLSearchParams): Selection {
  const set = (name: string) => new Set(params.getAll(name).filter(Boolean));
  const only = params.has("only");
  return {
    most: Math.round(numberIn(params.get("most"), DEFAULT_DRAWN, 1, MAX_GROUPED)),
    only,
    shown: set(only ? "only" : "show"),
    hidden: set("hide"),
  };
}

/** Uses repeated parameters, since keys and run ids may contain any separator. */
export function parseView(query: string): View {
  const params = new URLSearchParams(query);
  const columns = params.getAll("col").filter(Boolean);
  return {
    project: parseProject(params.get("project")),
    isList: params.has("projects"),
    run: params.get("run") || null,
    tab: oneOf(TABS, params.get("tab")),
    compare: params.getAll("compare").filter(Boolean),
    isTable: params.get("view") === "table",
    search: params.get("search") ?? "",
    filter: params.get("filter") ?? "",
    sort: params.get("sort") || NEWEST,
    columns: columns.length > 0 ? columns.map(parseColumn) : null,
    selection: parseSelection(params),
    x: oneOf(X_AXES, params.get("x")),
    range: parseRange(params.get("zoom")),
    smoothing: numberIn(params.get("smooth"), 0, 0, MAX_SMOOTHING),
    ignoreOutliers: params.has("calm"),
    group: params.get("group") || null,
    band: oneOf(BANDS, params.get("band")),
    ranks: oneOf(RANKS, params.get("ranks")),
    panelSearch: params.get("panels") ?? "",
    pinned: params.getAll("pin").filter(Boolean),
    log: new Set(params.getAll("log")),
    full: params.get("full"),
  };
}

function addSelection(params: URLSearchParams, selection: Selection): void {
  const { most, only, shown, hidden } = selection;
  if (most !== DEFAULT_DRAWN) params.set("most", String(most));
  for (const run of shown) params.append(only ? "only" : "show", run);
  if (only && shown.size === 0) params.append("only", "");
  for (const run of hidden) params.append("hide", run);
}

export function formatView(view: View): string {
  const params = new URLSearchParams();
  const { project, range } = view;
  const set = (name: string, text: string, fallback = "") => {
    if (text !== fallback) params.set(name, text);
  };
  const setAll = (name: string, texts: Iterable<string>) => {
    for (const text of texts) params.append(name, text);
  };
  if (view.isList) params.set("projects", "");
  if (project) params.set("project", `${project.entity}/${project.project}`);
  set("run", view.run ?? "");
  set("tab", view.tab, TABS[0]);
  setAll("compare", view.compare);
  set("view", view.isTable ? "table" : "");
  set("search", view.search);
  set("filter", view.filter);
  set("sort", view.sort, NEWEST);
  setAll("col", view.columns?.map(formatColumn) ?? []);
  addSelection(params, view.selection);
  set("x", view.x, X_AXES[0]);
  if (range) params.set("zoom", `${range.from}-${range.to}`);
  set("smooth", String(view.smoothing), "0");
  if (view.ignoreOutliers) params.set("calm", "");
  set("group", view.group ?? "");
  set("band", view.band, BANDS[0]);
  set("ranks", view.ranks, RANKS[0]);
  set("panels", view.panelSearch);
  setAll("pin", view.pinned);
  setAll("log", view.log);
  if (view.full) params.set("full", view.full);
  const query = params.toString().replaceAll("%2F", "/");
  return query && `?${query}`;
}
