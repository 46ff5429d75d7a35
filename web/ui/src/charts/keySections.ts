/** Groups keys by the part before their first "/" and lays them out in rows; pure. */

import { groupBy } from "../util/groupBy";

export interface Section {
  /** Unique, unlike the name. */
  id: string;
  /** Empty for keys without a prefix. */
  name: string;
  keys: string[];
}

export type Row =
  | { kind: "head"; id: string; section: Section; isOpen: boolean }
  | { kind: "panels"; id: string; keys: string[]; columns: number }
  /** Media panels: taller, and wider if there is room. */
  | { kind: "media"; id: string; keys: string[]; columns: number };

/** Prefix of system metrics in some clients: `system.gpu.0.temp`. */
const SYSTEM = "system.";

/** Added to each row by clients; not useful as charts. */
const HIDDEN = new Set(["_runtime", "_timestamp", "_step", "system._runtime", "system._timestamp"]);

export const isChartKey = (key: string): boolean => !HIDDEN.has(key);

/** `["train", "loss/a"]` of `train/loss/a`, `["", "loss"]` of `loss`. */
export function splitKey(key: string): [string, string] {
  if (key.startsWith(SYSTEM)) return ["system", key.slice(SYSTEM.length)];
  const slash = key.indexOf("/");
  return slash > 0 ? [key.slice(0, slash), key.slice(slash + 1)] : ["", key];
}

/** Sections that come last: system metrics. */
const LAST = new Set(["system"]);

/**
 * Pinned keys in the order of pinning, then keys without a prefix, then sections by name in natural
 * order (layer 2 before 10).
 */
export function toSections(keys: readonly string[], pinned: readonly string[] = []): Section[] {
  const order = new Intl.Collator("en", { numeric: true });
  const known = new Set(keys);
  const top = pinned.filter((key) => known.has(key));
  const rest = keys.filter((key) => !top.includes(key));
  const sections = [...groupBy(rest, (key) => splitKey(key)[0])]
    .map(([name, grouped]) => ({ id: name, name, keys: grouped.sort(order.compare) }))
    .sort(
      (a, b) =>
        Number(LAST.has(a.name)) - Number(LAST.has(b.name)) || order.compare(a.name, b.name),
    );
  return top.length > 0 ? [{ id: "\0pinned", name: "Pinned", keys: top }, ...sections] : sections;
}

/** Number of media panels per row. */
const mediaColumns = (columns: number) => (columns > 2 ? columns - 1 : columns);

/** Each section has charts first, then media; a key with both appears in both. */
export function toRows(
  sections: readonly Section[],
  columns: number,
  collapsed: ReadonlySet<string>,
  media: ReadonlySet<string> = new Set(),
  charts: ReadonlySet<string> | null = null,
): Row[] {
  const isChart = (key: string) => charts?.has(key) ?? !media.has(key);
  return sections.flatMap((section) => {
    const isOpen = !collapsed.has(section.id);
    const rows: Row[] = [{ kind: "head", id: `h ${section.id}`, section, isOpen }];
    if (!isOpen) return rows;
    const add = (kind: "panels" | "media", keys: readonly string[], columns: number) => {
      for (let at = 0; at < keys.length; at += columns) {
        const own = keys.slice(at, at + columns);
        rows.push({ kind, id: `${kind} ${section.id} ${own[0]}`, keys: own, columns });
      }
    };
    add("panels", section.keys.filter(isChart), columns);
    const own = section.keys.filter((key) => media.has(key));
    add("media", own, mediaColumns(columns));
    return rows;
  });
}
