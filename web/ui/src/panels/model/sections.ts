/** Groups keys by the part before their first "/"; pure. */

import { groupBy } from "../../util/groupBy";

export interface Section {
  /** Unique, unlike the name. */
  id: string;
  /** Empty for keys without a prefix. */
  name: string;
  keys: string[];
}

/** Prefix of system metrics in some clients: `system.gpu.0.temp`. */
const SYSTEM = "system.";

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
