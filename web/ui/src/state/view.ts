/** The view that the page shows, kept in step with the address bar. */

import type { ProjectRef, Range } from "../api/types";
import { createStore, useStore } from "./store";
import { ALL_RUNS, EMPTY_VIEW, formatView, parseView, type Selection, type View } from "./url";

/** Browsers refuse more than some hundred history changes in half a minute; typing waits a little. */
const WRITE_DELAY_MS = 200;

const store = createStore<View>(
  typeof location === "undefined" ? EMPTY_VIEW : parseView(location.search),
);
let timer: ReturnType<typeof setTimeout> | undefined;

function address(view: View): string {
  return formatView(view) || location.pathname;
}

/** Changes the view. `push`: as a step that the browser's back button undoes. */
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

export const view = {
  get: store.get,
  subscribe: store.subscribe,
  openProject: (project: ProjectRef) =>
    change({ ...EMPTY_VIEW, project, selection: ALL_RUNS }, true),
  select: (selection: Selection) => change({ selection }),
  zoom: (range: Range | null) => change({ range }, true),
  searchRuns: (runSearch: string) => change({ runSearch }),
  searchPanels: (panelSearch: string) => change({ panelSearch }),
  open: (full: string | null) => change({ full }),
  toggleLog(key: string) {
    const log = new Set(store.get().log);
    if (!log.delete(key)) log.add(key);
    change({ log });
  },
};

export function useView<S>(select: (view: View) => S): S {
  return useStore(store, select);
}
