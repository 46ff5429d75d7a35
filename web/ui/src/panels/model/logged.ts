/** What was logged in a project or a run; pure. */

/** Added to each row by clients; not useful as charts. */
const HIDDEN = new Set(["_runtime", "_timestamp", "_step", "system._runtime", "system._timestamp"]);

export const isChartKey = (key: string): boolean => !HIDDEN.has(key);

/** The keys with values; null: not known yet. */
export interface Logged {
  metrics: ReadonlySet<string> | null;
  /** Keys of media (images, tables, histograms …), and the kinds of their values. */
  media: ReadonlyMap<string, readonly string[]> | null;
}

/** A key, and all that decides about its panels. A key may be both a metric and media. */
export interface LoggedKey {
  key: string;
  isMetric: boolean;
  /** Kinds of its media values; null: none were logged. */
  mediaKinds: readonly string[] | null;
  /** Whether its y axis is logarithmic. */
  isLog: boolean;
}

/** All keys once, metrics first. */
export function keysOf({ metrics, media }: Logged): string[] {
  return [...new Set([...(metrics ?? []), ...(media?.keys() ?? [])])];
}

/** `log`: the keys with a logarithmic y axis. */
export function loggedKey(
  key: string,
  { metrics, media }: Logged,
  log: ReadonlySet<string>,
): LoggedKey {
  return {
    key,
    isMetric: metrics?.has(key) ?? false,
    mediaKinds: media?.get(key) ?? null,
    isLog: log.has(key),
  };
}
