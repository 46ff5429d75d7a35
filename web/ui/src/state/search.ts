/** What a search box means: a regular expression if it is one, plain text too, never an error. */

import type { Run } from "../api/types";

export type Matcher = (text: string) => boolean;

/** Case is ignored. Text that is no valid expression (yet) is looked for as it stands. */
export function matcher(query: string): Matcher {
  const plain = query.trim().toLowerCase();
  if (plain === "") return () => true;
  let expression: RegExp | null = null;
  try {
    expression = new RegExp(query.trim(), "im");
  } catch {
    expression = null;
  }
  return (text) => text.toLowerCase().includes(plain) || (expression?.test(text) ?? false);
}

const texts = new WeakMap<Run, string>();

/** Everything about a run that one may search for, one fact a line; config as `name=value`. */
export function searchText(run: Run): string {
  let text = texts.get(run);
  if (text === undefined) {
    const config = Object.entries(run.config ?? {}).map(
      ([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`,
    );
    const facts = [run.name, run.run, run.state, run.group, run.job_type, ...(run.tags ?? [])];
    text = [...facts.filter(Boolean), ...config].join("\n");
    texts.set(run, text);
  }
  return text;
}
