/** The page's event stream, and what it makes the page ask again: runs, keys, fields, projects. */

import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { forgetRuns } from "../api/edits";
import { mediaKeysQuery } from "../api/media";
import { fieldsQuery, keysQuery, projectsQuery, runQuery, runsKey } from "../api/queries";
import type { ProjectRef, Run, RunsPage } from "../api/types";
import { Live } from "../state/live";

/** Runs that the page does not know yet appear soon. */
const NEW_RUNS_DELAY_MS = 300;
/** Every commit changes summaries. */
const RUNS_DELAY_MS = 2_000;
/** New keys of a run that goes on are not announced; advancing projects are asked this often. */
const KEYS_DELAY_MS = 3_000;
/** The more keys there are, the less often all of them are asked again. */
const DELAY_PER_KEY_MS = 2;
const FIELDS_DELAY_MS = 15_000;

export function useLive({ entity, project }: ProjectRef): Live {
  const client = useQueryClient();
  const live = useMemo(() => makeLive(client, { entity, project }), [client, entity, project]);
  useEffect(() => {
    live.open();
    return () => live.close();
  }, [live]);
  return live;
}

function makeLive(client: QueryClient, ref: ProjectRef): Live {
  const runs = runsKey(ref);
  const ask = (queryKey: readonly string[]) => void client.invalidateQueries({ queryKey });
  const seen = new Set<string>();
  const isNew = (ids: readonly string[]) => {
    for (const [, page] of client.getQueriesData<RunsPage>({ queryKey: runs })) {
      for (const { run } of page?.runs ?? []) seen.add(run);
    }
    const news = ids.filter((id) => !seen.has(id));
    for (const id of news) seen.add(id);
    return news.length > 0;
  };
  const keys = keysQuery(ref).queryKey.slice(0, 3) as string[];
  const keysDelay = () => {
    const known = client.getQueryData(keysQuery(ref).queryKey)?.length ?? 0;
    return KEYS_DELAY_MS + DELAY_PER_KEY_MS * known;
  };
  const askRuns = atMostEvery(
    () => RUNS_DELAY_MS,
    () => {
      ask(runs);
      ask(["run", ref.entity, ref.project]);
    },
  );
  const askNewRuns = atMostEvery(
    () => NEW_RUNS_DELAY_MS,
    () => {
      ask(runs);
      ask(projectsQuery.queryKey);
    },
  );
  const mediaKeys = mediaKeysQuery(ref).queryKey.slice(0, 3) as string[];
  const askKeys = atMostEvery(keysDelay, () => {
    ask(keys);
    ask(mediaKeys);
  });
  const askFields = atMostEvery(
    () => FIELDS_DELAY_MS,
    () => ask(fieldsQuery(ref).queryKey),
  );
  return new Live(ref, {
    changed(ids) {
      if (ids === null || isNew(ids)) askNewRuns();
      else askRuns();
      askKeys();
      askFields();
    },
    deleted(ids) {
      for (const id of ids) seen.delete(id);
      forgetRuns(client, ref, ids);
    },
    advanced(lastSteps) {
      if (isNew(Object.keys(lastSteps))) askNewRuns();
      const update = (run: Run) => advance(run, lastSteps);
      client.setQueriesData<RunsPage>({ queryKey: runs }, (old) => old && mapRuns(old, update));
      for (const run of Object.keys(lastSteps)) {
        client.setQueryData<Run>(runQuery(ref, run).queryKey, (old) => old && update(old));
      }
      askKeys();
    },
  });
}

/** The same page if nothing of it changed. */
function mapRuns(page: RunsPage, update: (run: Run) => Run): RunsPage {
  const runs = page.runs.map(update);
  return runs.some((run, i) => run !== page.runs[i]) ? { ...page, runs } : page;
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
