/** Merges two sorted lists of console lines; on conflict the second wins. Pure. */

import type { ConsoleLine } from "../../api/types";

const before = (a: ConsoleLine, b: ConsoleLine): number => a.line - b.line || a.lane - b.lane;

const isSame = (a: ConsoleLine, b: ConsoleLine): boolean =>
  a.text === b.text && a.stream === b.stream && a.time === b.time;

/** The same array if nothing is new. */
export function mergeLines(
  older: readonly ConsoleLine[],
  newer: readonly ConsoleLine[],
): readonly ConsoleLine[] {
  const merged: ConsoleLine[] = [];
  let isChanged = false;
  let at = 0;
  for (const line of newer) {
    while (at < older.length && before(older[at], line) < 0) merged.push(older[at++]);
    const known = at < older.length && before(older[at], line) === 0 ? older[at++] : null;
    const isKept = known !== null && isSame(known, line);
    if (!isKept) isChanged = true;
    merged.push(isKept ? known : line);
  }
  merged.push(...older.slice(at));
  return isChanged ? merged : older;
}
