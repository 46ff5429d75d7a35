/** The page's event stream, and what it makes the page ask again: runs, keys, projects. */

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { keysQuery, projectsQuery, runsQuery } from "../api/queries";
import type { ProjectRef, Run } from "../api/types";
import { Live } from "../state/live";

const RUNS_DELAY_MS = 300;
/** New keys of a run that goes on are not announced; advancing projects are asked this often. */
const KEYS_DELAY_MS = 3_000;

export function useLive({ entity, project }: ProjectRef): Live {
  const client = useQueryClient();
  const live = useMemo(() => {
    const ref = { entity, project };
    const runs = runsQuery(ref).queryKey;
    const keys = keysQuery(ref).queryKey;
    const askRuns = atMostEvery(RUNS_DELAY_MS, () => {
      void client.invalidateQueries({ queryKey: runs });
      void client.invalidateQueries({ queryKey: projectsQuery.queryKey });
    });
    const askKeys = atMostEvery(KEYS_DELAY_MS, () => {
      void client.invalidateQueries({ queryKey: keys });
    });
    return new Live(ref, {
      changed() {
        askRuns();
        askKeys();
      },
      advanced(lastSteps) {
        const known = client.getQueryData<Run[]>(runs) ?? [];
        const ids = new Set(known.map(({ run }) => run));
        if (Object.keys(lastSteps).some((run) => !ids.has(run))) askRuns();
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
function atMostEvery(delayMs: number, call: () => void): () => void {
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    setTimeout(() => {
      isWaiting = false;
      call();
    }, delayMs);
  };
}
