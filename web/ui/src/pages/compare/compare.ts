/** A comparison of runs, one row per path; pure. */

import { leaves } from "../../api/paths";
import { saidOf } from "../../api/runFields";
import type { Run, RunsDiff } from "../../api/types";
import { formatAny, formatMeasured, formatStep } from "../../util/format";
import { toJson } from "../../util/json";
import { formatDate, formatDuration } from "../../util/time";

export interface ComparedRow {
  path: string;
  /** One text per run; empty if the run has no value. */
  texts: string[];
  isSame: boolean;
}

export interface Comparison {
  title: string;
  rows: ComparedRow[];
}

type Entry = readonly [path: string, value: unknown];
type Entries = readonly Entry[];

export function compare(runs: readonly Run[]): Comparison[] {
  return [
    {
      title: "Config",
      rows: side(
        runs.map(({ config }) => leaves(config)),
        formatAny,
      ),
    },
    {
      title: "Summary",
      rows: side(
        runs.map(({ summary }) => Object.entries(summary)),
        measured,
      ),
    },
    { title: "Run", rows: side(runs.map(facts), formatAny) },
  ];
}

/** For each metric, the first step at which two runs differ, and the values they logged there. */
export function curveDifferences({ keys }: RunsDiff): Comparison {
  const rows = keys.map(({ key, step, a, b }) => ({
    path: `${key} at step ${formatStep(step)}`,
    texts: [a, b].map(measured),
    isSame: false,
  }));
  return { title: "First difference in each metric", rows };
}

function measured(value: unknown): string {
  return formatMeasured(value);
}

function facts(run: Run): Entries {
  return [
    ["state", run.state],
    ["created", formatDate(run.created_at)],
    ["duration", formatDuration(run.updated_at - run.created_at)],
    ["steps", run.last_step === null ? "" : formatStep(run.last_step)],
    ...saidOf(run).map(([title, value]): Entry => [title.toLowerCase(), joined(value)]),
    ...leaves(run.info ?? {}),
  ];
}

const joined = (value: unknown) => (Array.isArray(value) ? value.join(", ") : value);

function side(columns: readonly Entries[], format: (value: unknown) => string): ComparedRow[] {
  const order = new Intl.Collator("en", { numeric: true });
  const values = columns.map((entries) => new Map(entries));
  const paths = [...new Set(values.flatMap((each) => [...each.keys()]))].sort(order.compare);
  return paths.flatMap((path) => {
    const found = values.map((each) => each.get(path));
    const texts = found.map(format);
    if (texts.every((text) => text === "")) return [];
    const isSame = found.every((value) => toJson(value) === toJson(found[0]));
    return [{ path, texts, isSame }];
  });
}
