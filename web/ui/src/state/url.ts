/** The view as a query string, so that an address shows exactly this view; pure. */

import type { ProjectRef, Range } from "../api/types";

/** Which runs are drawn: all but the exceptions, or only them. */
export interface Selection {
  base: "all" | "none";
  except: ReadonlySet<string>;
}

export interface View {
  /** null: the project that was written to last. */
  project: ProjectRef | null;
  selection: Selection;
  /** The zoom, shared by all panels. */
  range: Range | null;
  runSearch: string;
  panelSearch: string;
  /** Keys with a logarithmic y axis. */
  log: ReadonlySet<string>;
  /** The key shown full-screen. */
  full: string | null;
}

export const ALL_RUNS: Selection = { base: "all", except: new Set() };

export const EMPTY_VIEW: View = {
  project: null,
  selection: ALL_RUNS,
  range: null,
  runSearch: "",
  panelSearch: "",
  log: new Set(),
  full: null,
};

export function isShown({ base, except }: Selection, run: string): boolean {
  return (base === "all") !== except.has(run);
}

export function toggled(selection: Selection, run: string): Selection {
  const except = new Set(selection.except);
  if (!except.delete(run)) except.add(run);
  return { ...selection, except };
}

/** Shows or hides several runs at once; `everything`: they are all there are. */
export function withRuns(
  selection: Selection,
  runs: readonly string[],
  shown: boolean,
  everything: boolean,
): Selection {
  if (everything) return { base: shown ? "all" : "none", except: new Set() };
  const except = new Set(selection.except);
  for (const run of runs) {
    if ((selection.base === "all") === shown) except.delete(run);
    else except.add(run);
  }
  return { ...selection, except };
}

function parseProject(text: string | null): ProjectRef | null {
  const slash = text?.indexOf("/") ?? -1;
  if (!text || slash < 1 || slash === text.length - 1) return null;
  return { entity: text.slice(0, slash), project: text.slice(slash + 1) };
}

function parseRange(text: string | null): Range | null {
  const match = /^(\d+)-(\d+)$/.exec(text ?? "");
  if (!match) return null;
  const [from, to] = [Number(match[1]), Number(match[2])];
  return from < to && Number.isSafeInteger(to) ? { from, to } : null;
}

/** Repeated parameters, since keys and run ids may hold any separator. */
export function parseView(query: string): View {
  const params = new URLSearchParams(query);
  const only = params.has("only");
  return {
    project: parseProject(params.get("project")),
    selection: {
      base: only ? "none" : "all",
      except: new Set(params.getAll(only ? "only" : "hide").filter(Boolean)),
    },
    range: parseRange(params.get("steps")),
    runSearch: params.get("runs") ?? "",
    panelSearch: params.get("panels") ?? "",
    log: new Set(params.getAll("log")),
    full: params.get("full"),
  };
}

export function formatView(view: View): string {
  const params = new URLSearchParams();
  const { project, selection, range } = view;
  if (project) params.set("project", `${project.entity}/${project.project}`);
  const name = selection.base === "all" ? "hide" : "only";
  for (const run of selection.except) params.append(name, run);
  if (selection.base === "none" && selection.except.size === 0) params.append("only", "");
  if (range) params.set("steps", `${range.from}-${range.to}`);
  if (view.runSearch) params.set("runs", view.runSearch);
  if (view.panelSearch) params.set("panels", view.panelSearch);
  for (const key of view.log) params.append("log", key);
  if (view.full) params.set("full", view.full);
  const query = params.toString().replaceAll("%2F", "/");
  return query && `?${query}`;
}
