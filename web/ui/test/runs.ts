/** Runs for tests. */

import type { Run } from "../src/api/types";

export function runOf(run: string, over: Partial<Run> = {}): Run {
  return {
    entity: "lab",
    project: "p",
    run,
    name: `name-${run}`,
    state: "finished",
    group: "",
    job_type: "",
    tags: [],
    notes: "",
    config: {},
    summary: {},
    info: {},
    created_at: 0,
    updated_at: 0,
    not_finite: [],
    last_step: 10,
    ...over,
  };
}
