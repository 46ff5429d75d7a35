/** The fields of every run as the page shows them, the only place for a new one; pure. */

import type { Field, Run } from "./types";

export interface RunField extends Field {
  path: keyof Run | "sweep" | "host";
  /** Its heading; its path if absent. */
  title?: string;
  /** Of its column, in pixels. */
  width?: number;
  /** Several runs may share a value. */
  isGroupable?: boolean;
  /** Said of a run by a script or a person, and shown among the run's details, or above them. */
  shown?: "details" | "head";
}

const text = { kinds: ["string"], runs: 0 } satisfies Partial<Field>;
const time = { kinds: ["time"], runs: 0 } satisfies Partial<Field>;

export const RUN_FIELDS: readonly RunField[] = [
  { ...text, path: "name", title: "Name" },
  {
    ...text,
    path: "state",
    title: "State",
    values: ["running", "finished", "failed", "crashed", "preempting"],
    width: 96,
    isGroupable: true,
  },
  { ...text, path: "run", title: "ID", width: 110 },
  { ...text, path: "group", title: "Group", width: 140, isGroupable: true, shown: "details" },
  { ...text, path: "job_type", title: "Job type", width: 110, isGroupable: true, shown: "details" },
  { ...text, path: "tags", title: "Tags", width: 140, isGroupable: true, shown: "head" },
  { ...text, path: "notes", title: "Notes", width: 220, shown: "head" },
  { ...text, path: "sweep" },
  { ...text, path: "host" },
  { ...time, path: "created_at", title: "Created", width: 132 },
  { ...time, path: "updated_at", title: "Updated", width: 132 },
];

const BY_PATH: ReadonlyMap<string, RunField> = new Map(RUN_FIELDS.map((each) => [each.path, each]));

export const runField = (path: string): RunField | undefined => BY_PATH.get(path);

/** What a script or a person said of a run, as [title, value], in the details or everywhere. */
export function saidOf(run: Run, where?: RunField["shown"]): [string, unknown][] {
  return RUN_FIELDS.filter(({ shown }) => shown && (where === undefined || shown === where)).map(
    ({ path, title }) => [title ?? path, run[path as keyof Run]],
  );
}
