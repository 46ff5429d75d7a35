/** Keys by the part before their first "/", and the rows in which they are laid out; pure. */

import { groupBy } from "../group";

export interface Section {
  /** Tells it from a section that only looks the same. */
  id: string;
  /** Empty for keys without a prefix. */
  name: string;
  keys: string[];
}

export type Row =
  | { kind: "head"; id: string; section: Section; isOpen: boolean }
  | { kind: "panels"; id: string; keys: string[] };

/** `["train", "loss/a"]` of `train/loss/a`, `["", "loss"]` of `loss`. */
export function splitKey(key: string): [string, string] {
  const slash = key.indexOf("/");
  return slash > 0 ? [key.slice(0, slash), key.slice(slash + 1)] : ["", key];
}

/** Machine metrics are the last that one looks at. */
const LAST = new Set(["system"]);

/**
 * The pinned keys in the order in which they were pinned, keys without a prefix, then sections by name;
 * natural order, so that layer 2 is before 10.
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

export function toRows(
  sections: readonly Section[],
  columns: number,
  collapsed: ReadonlySet<string>,
): Row[] {
  return sections.flatMap((section) => {
    const isOpen = !collapsed.has(section.id);
    const rows: Row[] = [{ kind: "head", id: `h ${section.id}`, section, isOpen }];
    for (let at = 0; isOpen && at < section.keys.length; at += columns) {
      const keys = section.keys.slice(at, at + columns);
      rows.push({ kind: "panels", id: `p ${section.id} ${keys[0]}`, keys });
    }
    return rows;
  });
}
