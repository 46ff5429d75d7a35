/** Values of runs by path, for filters, columns and groups; pure. */

import { runField } from "./runFields";
import type { Run } from "./types";

/** `config.a.b`: nested keys, or one key with dots; `summary.<key>`: always one key. */
export function valueAt(run: Run, path: string): unknown {
  if (path.startsWith("summary.")) return run.summary?.[path.slice("summary.".length)];
  if (path.startsWith("config.")) return within(run.config, path.slice("config.".length));
  return (run as unknown as Record<string, unknown>)[path];
}

function within(value: unknown, path: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Record<string, unknown>;
  if (Object.hasOwn(fields, path)) return fields[path];
  for (let dot = path.indexOf("."); dot > 0; dot = path.indexOf(".", dot + 1)) {
    const head = path.slice(0, dot);
    if (Object.hasOwn(fields, head)) return within(fields[head], path.slice(dot + 1));
  }
  return undefined;
}

/** A path as a heading: a title if it has one, otherwise without `config.` or `summary.`. */
export function shortPath(path: string): string {
  return runField(path)?.title ?? path.replace(/^(config|summary)\./, "");
}

/** Leaves of nested objects as `[path, value]`; lists and empty objects are leaves. */
export function leaves(value: unknown, prefix = ""): [string, unknown][] {
  const isTree = typeof value === "object" && value !== null && !Array.isArray(value);
  const entries = isTree ? Object.entries(value) : [];
  if (entries.length === 0) return prefix === "" ? [] : [[prefix, value]];
  return entries.flatMap(([name, inner]) => leaves(inner, prefix ? `${prefix}.${name}` : name));
}
