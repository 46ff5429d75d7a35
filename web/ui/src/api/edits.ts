/** Edits and deletes runs. The page hides these actions from users without permission; the server enforces it. */

import { type QueryClient, useQuery } from "@tanstack/react-query";
import { segments, sendJson } from "./http";
import { projectsQuery, runQuery, runsKey, viewerQuery } from "./queries";
import type { ProjectRef, Run, RunEdit, RunsPage } from "./types";

/** Whether the user may edit runs in this project. */
export function useMayWrite({ entity }: ProjectRef): boolean {
  const viewer = useQuery(viewerQuery).data;
  return viewer?.may_write === true && viewer.entity === entity;
}

export async function changeRun(
  client: QueryClient,
  { entity, project }: ProjectRef,
  run: string,
  change: RunEdit,
): Promise<void> {
  const path = `runs/${segments(entity, project, run)}`;
  await sendJson<Run>("PATCH", path, change);
  await client.invalidateQueries({ queryKey: runQuery({ entity, project }, run).queryKey });
  void client.invalidateQueries({ queryKey: runsKey({ entity, project }) });
}

export async function deleteRuns(
  client: QueryClient,
  { entity, project }: ProjectRef,
  runs: readonly string[],
): Promise<void> {
  await sendJson("POST", `projects/${segments(entity, project)}/runs/delete`, { runs });
  forgetRuns(client, { entity, project }, runs);
}

/** Removes deleted runs from the page at once and refetches the rest. */
export function forgetRuns(client: QueryClient, ref: ProjectRef, runs: readonly string[]): void {
  const gone = new Set(runs);
  client.setQueriesData<RunsPage>({ queryKey: runsKey(ref) }, (old) => {
    if (!old) return old;
    const kept = old.runs.filter(({ run }) => !gone.has(run));
    return { ...old, runs: kept, total: old.total - (old.runs.length - kept.length) };
  });
  void client.invalidateQueries({ queryKey: runsKey(ref) });
  void client.invalidateQueries({ queryKey: projectsQuery.queryKey });
  for (const what of ["keys", "fields"])
    void client.invalidateQueries({ queryKey: [what, ref.entity, ref.project] });
  for (const run of runs) void client.invalidateQueries({ queryKey: runQuery(ref, run).queryKey });
}
