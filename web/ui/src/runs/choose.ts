/** From all runs to those listed and those drawn; pure. */

import type { Range, Run } from "../api/types";
import { matcher, searchText } from "../state/search";
import { isShown, type Selection } from "../state/url";

/** Curves in one panel; more would be neither readable nor quick. */
export const MAX_DRAWN = 200;

export interface Chosen {
  listed: readonly Run[];
  drawn: readonly string[];
  leftOut: number;
  domain: Range | null;
}

/** `runs` newest first. */
export function chooseRuns(runs: readonly Run[], search: string, selection: Selection): Chosen {
  const isMatch = matcher(search);
  const listed = search ? runs.filter((run) => isMatch(searchText(run))) : runs;
  const shown = listed.filter(({ run }) => isShown(selection, run));
  const newest = shown.slice(0, MAX_DRAWN);
  const last = newest.reduce((most, run) => Math.max(most, run.last_step ?? -1), -1);
  return {
    listed,
    drawn: newest.map(({ run }) => run).reverse(),
    leftOut: shown.length - newest.length,
    domain: last > 0 ? { from: 0, to: last } : null,
  };
}
