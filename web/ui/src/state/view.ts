/** The current view, in sync with the address bar. */

import type { Band, Ranks, XAxis } from "../api/chartOptions";
import type { ProjectRef, Range } from "../api/types";
import { createStore, useStore } from "./store";
import {
  type Column,
  EMPTY_VIEW,
  formatView,
  MAX_SMOOTHING,
  parseView,
  type Selection,
  type Tab,
  type View,
} from "./url";

/** Delay while typing: browsers allow only some hundred history changes in half a minute. */
const WRITE_DELAY_MS = 200;

const store = createStore<View>(
  typeof location === "undefined" ? EMPTY_VIEW : parseView(location.search),
);
let timer: ReturnType<typeof setTimeout> | undefined;

function address(view: View): string {
  return formatView(view) || location.pathname;
}

/** Changes the view. `push`: adds a history entry, so that the back button undoes it. */
function change(part: Partial<View>, push = false): void {
  clearTimeout(timer);
  const view = { ...store.get(), ...part };
  if (push) {
    history.replaceState(null, "", address(store.get()));
    history.pushState(null, "", address(view));
  } else {
    timer = setTimeout(() => history.replaceState(null, "", address(store.get())), WRITE_DELAY_MS);
  }
  store.set(view);
}

export function followHistory(): () => void {
  const onPop = () => {
    clearTimeout(timer);
    store.set(parseView(location.search));
  };
  addEventListener("popstate", onPop);
  return () => removeEventListener("popstate", onPop);
}

/** Views that links lead to, from the current one. */
export const routes = {
  list: (): View => ({ ...EMPTY_VIEW, isList: true }),
  project: (project: ProjectRef): View => ({ ...EMPTY_VIEW, project }),
  /** Back to the project, with the settings of its charts and table. */
  back: (from: View): View => ({
    ...from,
    run: null,
    tab: "charts",
    compare: [],
    full: null,
    range: null,
  }),
  run: (from: View, run: string): View => ({
    ...from,
    run,
    tab: "charts",
    compare: [],
    full: null,
    range: null,
  }),
  compare: (from: View, runs: readonly string[]): View => ({
    ...from,
    run: null,
    compare: runs,
    full: null,
  }),
};

function toggledIn(set: Iterable<string>, key: string): Set<string> {
  const next = new Set(set);
  if (!next.delete(key)) next.add(key);
  return next;
}

export const view = {
  get: store.get,
  subscribe: store.subscribe,
  go: (next: View) => change(next, true),
  showTab: (tab: Tab) => change({ tab }, true),
  showTable: (isTable: boolean) => change({ isTable }, true),
  select: (selection: Selection) => change({ selection }),
  search: (search: string) => change({ search }),
  filter: (filter: string) => change({ filter }, true),
  sort: (sort: string) => change({ sort }, true),
  setColumns: (columns: readonly Column[] | null) => change({ columns }),
  zoom: (range: Range | null) => change({ range }, true),
  setX: (x: XAxis) => change({ x, range: null }, true),
  smooth: (smoothing: number) =>
    change({ smoothing: Math.min(MAX_SMOOTHING, Math.max(0, smoothing)) }),
  setIgnoreOutliers: (ignoreOutliers: boolean) => change({ ignoreOutliers }),
  groupBy: (group: string | null) => change({ group }, true),
  setBand: (band: Band) => change({ band }),
  setRanks: (ranks: Ranks) => change({ ranks }),
  searchPanels: (panelSearch: string) => change({ panelSearch }),
  open: (full: string | null) => change({ full }),
  togglePin: (key: string) => change({ pinned: [...toggledIn(store.get().pinned, key)] }),
  toggleLog: (key: string) => change({ log: toggledIn(store.get().log, key) }),
};

export function useView<S>(select: (view: View) => S): S {
  return useStore(store, select);
}
