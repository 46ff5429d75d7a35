/** Keys by the part before their first "/"; pure. */

import { groupBy } from "../group";

export interface Section {
  /** Empty for keys without a prefix. */
  name: string;
  keys: string[];
}

/** `["train", "loss/a"]` of `train/loss/a`, `["", "loss"]` of `loss`. */
export function splitKey(key: string): [string, string] {
  const slash = key.indexOf("/");
  return slash > 0 ? [key.slice(0, slash), key.slice(slash + 1)] : ["", key];
}

/** Machine metrics are the last that one looks at. */
const LAST = new Set(["system"]);

/** Keys without a prefix first, then sections by name; natural order, so that layer 2 is before 10. */
export function toSections(keys: readonly string[]): Section[] {
  const order = new Intl.Collator("en", { numeric: true });
  const groups = groupBy(keys, (key) => splitKey(key)[0]);
  return [...groups]
    .map(([name, grouped]) => ({ name, keys: grouped.sort(order.compare) }))
    .sort(
      (a, b) =>
        Number(LAST.has(a.name)) - Number(LAST.has(b.name)) || order.compare(a.name, b.name),
    );
}
