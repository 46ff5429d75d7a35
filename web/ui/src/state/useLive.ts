/** The page's event stream, which invalidates queries of runs, keys, fields and projects. */

import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { forgetRuns } from "../api/edits";
import { mediaKeysQuery } from "../api/media";
import { fieldsQuery, keysQuery, projectsQuery, runQuery, runsKey } from "../api/queries";
import type { ProjectRef, Run, RunsPage } from "../api/types";
import { whileVisible } from "../util/visible";
import { Live } from "./live";

/** New runs appear quickly. */
const NEW_RUNS_DELAY_MS = 300;
/** Known runs are refetched less often: every commit changes summaries. */
const RUNS_DELAY_MS = 2_000;
/** New keys of a known run are not announced, so keys are refetched this often while runs advance. */
const KEYS_DELAY_MS = 3_000;
/** The more keys there are, the less often they are refetched. */
const DELAY_PER_KEY_MS = 2;
const FIELDS_DELAY_MS = 15_000;

export function useLive({ entity, project }: ProjectRef): Live {
  const client = useQueryClient();
  const live = useMemo(() => makeLive(client, { entity, project }), [client, entity, project]);
  useEffect(
    () =>
      whileVisible(
        () => live.open(),
        () => live.close(),
      ),
    [live],
  );
  return live;
}

function makeLive(client: QueryClient, ref: ProjectRef): Live {
  const runs = runsKey(ref);
  const invalidate = (queryKey: readonly string[]) => void client.invalidateQueries({ queryKey });
  const knownRuns = new Set<string>();
  const isNew = (ids: readonly string[]) => {
    for (const [, page] of client.getQueriesData<RunsPage>({ queryKey: runs })) {
      for (const { run } of page?.runs ?? []) knownRuns.add(run);
    }
    const unknown = ids.filter((id) => !knownRuns.has(id));
    for (const id of unknown) knownRuns.add(id);
    return unknown.length > 0;
  };
  const keys = keysQuery(ref).queryKey.slice(0, 3) as string[];
  const keysDelay = () => {
    const known = client.getQueryData(keysQuery(ref).queryKey)?.length ?? 0;
    return KEYS_DELAY_MS + DELAY_PER_KEY_MS * known;
  };
  const refreshRuns = throttled(
    () => RUNS_DELAY_MS,
    () => {
      invalidate(runs);
      invalidate(["run", ref.entity, ref.project]);
    },
  );
  const refreshNewRuns = throttled(
    () => NEW_RUNS_DELAY_MS,
    () => {
      invalidate(runs);
      invalidate(projectsQuery.queryKey);
    },
  );
  const mediaKeys = mediaKeysQuery(ref).queryKey.slice(0, 3) as string[];
  const refreshKeys = throttled(keysDelay, () => {
    invalidate(keys);
    invalidate(mediaKeys);
  });
  const refreshFields = throttled(
    () => FIELDS_DELAY_MS,
    () => invalidate(fieldsQuery(ref).queryKey),
  );
  return new Live(ref, {
    changed(ids) {
      if (ids === null || isNew(ids)) refreshNewRuns();
      else refreshRuns();
      refreshKeys();
      refreshFields();
    },
    deleted(ids) {
      for (const id of ids) knownRuns.delete(id);
      forgetRuns(client, ref, ids);
    },
    advanced(lastSteps) {
      if (isNew(Object.keys(lastSteps))) refreshNewRuns();
      const update = (run: Run) => advance(run, lastSteps);
      client.setQueriesData<RunsPage>({ queryKey: runs }, (old) => old && mapRuns(old, update));
      for (const run of Object.keys(lastSteps)) {
        client.setQueryData<Run>(runQuery(ref, run).queryKey, (old) => old && update(old));
      }
      refreshKeys();
    },
  });
}

/** Returns the same page if nothing changed. */
function mapRuns(page: RunsPage, update: (run: Run) => Run): RunsPage {
  const runs = page.runs.map(update);
  return runs.some((run, i) => run !== page.runs[i]) ? { ...page, runs } : page;
}

function advance(run: Run, lastSteps: Record<string, number>): Run {
  const step = lastSteps[run.run];
  if (step === undefined || step === run.last_step) return run;
  return { ...run, last_step: step, updated_at: Date.now() / 1000 };
}

/** Calls once after the delay, no matter how often it was requested. */
function throttled(delayMs: () => number, call: () => void): () => void {
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
