/** At most `most` rows around the highlighted one; pure. */
export function windowAround<T extends { id: string }>(
  rows: readonly T[],
  id: string | null,
  most: number,
): { start: number; shown: T[] } {
  const at = Math.max(
    0,
    rows.findIndex((row) => row.id === id),
  );
  const start = Math.max(0, Math.min(at - Math.floor(most / 2), rows.length - most));
  return { start, shown: rows.slice(start, start + most) };
}
