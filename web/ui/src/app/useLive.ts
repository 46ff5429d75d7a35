/** The page's event stream, and what it makes the page ask again: runs, keys, projects. */

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { keysQuery, projectsQuery, runsQuery } from "../api/queries";
import type { ProjectRef, Run } from "../api/types";
import { Live } from "../state/live";

/** Runs that the page does not know yet appear soon. */
const NEW_RUNS_DELAY_MS = 300;
/** Every commit changes summaries; the more runs a project has, the less often all are asked again. */
const RUNS_DELAY_MS = 2_000;
const DELAY_PER_RUN_MS = 5;
/** New keys of a run that goes on are not announced; advancing projects are asked this often. */
const KEYS_DELAY_MS = 3_000;

export function useLive({ entity, project }: ProjectRef): Live {
  const client = useQueryClient();
  const live = useMemo(() => {
    const ref = { entity, project };
    const runs = runsQuery(ref).queryKey;
    const keys = keysQuery(ref).queryKey;
    const known = () => client.getQueryData<Run[]>(runs) ?? [];
    const isNew = (ids: string[]) => {
      const old = new Set(known().map(({ run }) => run));
      return ids.some((id) => !old.has(id));
    };
    const ask = (queryKey: readonly string[]) => void client.invalidateQueries({ queryKey });
    const askRuns = atMostEvery(
      () => Math.max(RUNS_DELAY_MS, DELAY_PER_RUN_MS * known().length),
      () => ask(runs),
    );
    const askNewRuns = atMostEvery(
      () => NEW_RUNS_DELAY_MS,
      () => {
        ask(runs);
        ask(projectsQuery.queryKey);
      },
    );
    const askKeys = atMostEvery(
      () => KEYS_DELAY_MS,
      () => ask(keys),
    );
    return new Live(ref, {
      changed(ids) {
        if (ids === null || isNew(ids)) askNewRuns();
        else askRuns();
        askKeys();
      },
      advanced(lastSteps) {
        if (isNew(Object.keys(lastSteps))) askNewRuns();
        client.setQueryData<Run[]>(runs, (old) => old?.map((run) => advance(run, lastSteps)));
        askKeys();
      },
    });
  }, [client, entity, project]);
  useEffect(() => {
    live.open();
    return () => live.close();
  }, [live]);
  return live;
}

function advance(run: Run, lastSteps: Record<string, number>): Run {
  const step = lastSteps[run.run];
  if (step === undefined || step === run.last_step) return run;
  return { ...run, last_step: step, updated_at: Date.now() / 1000 };
}

/** Calls after the delay, however often it was asked for meanwhile. */
function atMostEvery(delayMs: () => number, call: () => void): () => void {
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    setTimeout(() => {
      isWaiting = false;
      call();
    }, delayMs());
  };
}
