/** Chooses the runs to draw, and groups them into series; pure. */

import type { Series } from "../api/curves";
import { valueAt } from "../api/paths";
import type { Range, Run } from "../api/types";
import { formatAny } from "../util/format";
import { groupBy } from "../util/groupBy";
import { isShown, type Selection } from "./url";

/** `first`: the first runs of the query, in order. `extra`: runs selected by hand. */
export function chooseRuns(
  first: readonly Run[],
  extra: readonly Run[],
  selection: Selection,
  limit: number,
): Run[] {
  const known = new Set(first.map(({ run }) => run));
  const chosen = first.filter(({ run }, place) => isShown(selection, run, place));
  const added = extra.filter(({ run }) => !known.has(run) && isShown(selection, run, null));
  return [...added, ...chosen].slice(0, limit);
}

/** Label of the group of runs without a value. */
export const NO_VALUE = "(none)";

function groupLabel(run: Run, path: string): string {
  const value = valueAt(run, path);
  return formatAny(value) || NO_VALUE;
}

/** Series in drawing order: runs oldest first, so that newer curves are on top. */
export function toSeries(drawn: readonly Run[], group: string | null): Series[] {
  if (group === null) {
    return drawn
      .toSorted((a, b) => a.created_at - b.created_at)
      .map(({ run }) => ({ id: run, runs: [run] }));
  }
  return [...groupBy(drawn, (run) => groupLabel(run, group))]
    .map(([id, runs]) => ({ id, runs: runs.map(({ run }) => run).sort() }))
    .sort((a, b) => compareLabels(a.id, b.id));
}

const order = new Intl.Collator("en", { numeric: true });
const numberOf = (label: string) => Number(label.replace("−", "-"));

/** Numbers by size, then text, then missing values. */
function compareLabels(a: string, b: string): number {
  if (a === NO_VALUE || b === NO_VALUE) return Number(a === NO_VALUE) - Number(b === NO_VALUE);
  return numberOf(a) - numberOf(b) || order.compare(a, b);
}

/** The range of steps of these runs. */
export function stepsOf(runs: readonly Run[]): Range | null {
  const last = runs.reduce((most, run) => Math.max(most, run.last_step ?? -1), -1);
  return last > 0 ? { from: 0, to: last } : null;
}
