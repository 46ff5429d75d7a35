/** From the runs of the query to those drawn, and from these to what a curve is of; pure. */

import type { Series } from "../api/curves";
import { valueAt } from "../api/paths";
import type { Range, Run } from "../api/types";
import { formatAny } from "../util/format";
import { groupBy } from "../util/groupBy";
import { isShown, type Selection } from "./url";

/** `first`: the query's first runs, in order. `extra`: those shown by hand, wherever they stand. */
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

/** What runs without a value are grouped under. */
export const NO_VALUE = "(none)";

function groupLabel(run: Run, path: string): string {
  const value = valueAt(run, path);
  return formatAny(value) || NO_VALUE;
}

/** Members in drawing order: of runs the oldest first, so that newer curves lie on top. */
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

/** Numbers by size, then texts, then what has no value. */
function compareLabels(a: string, b: string): number {
  if (a === NO_VALUE || b === NO_VALUE) return Number(a === NO_VALUE) - Number(b === NO_VALUE);
  return numberOf(a) - numberOf(b) || order.compare(a, b);
}

/** Steps over all these runs. */
export function stepsOf(runs: readonly Run[]): Range | null {
  const last = runs.reduce((most, run) => Math.max(most, run.last_step ?? -1), -1);
  return last > 0 ? { from: 0, to: last } : null;
}
