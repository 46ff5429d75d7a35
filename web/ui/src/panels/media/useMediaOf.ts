/** Values of a media key in the selected runs at the chosen step, kept up to date. */

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { mediaQuery } from "../../api/media";
import type { MediaOfRun } from "../../api/types";
import { usePage } from "../../state/page";
import { useStore } from "../../state/store";
import { unionOfSteps } from "./values";

/** Media are larger than points and refetched less often. */
const REFRESH_MS = 2_000;
const NO_RUNS: readonly MediaOfRun[] = [];

export interface MediaState {
  runs: readonly MediaOfRun[];
  /** Number of selected runs that do not fit. */
  left: number;
  steps: readonly number[];
  /** The chosen step, or the last; null: there are none. */
  step: number | null;
  /** null: follow the last step. */
  choose(step: number | null): void;
  isLoading: boolean;
  error: unknown;
  retry(): void;
}

export function useMediaOf(key: string, mostRuns: number, mostValues = 1): MediaState {
  const { project, drawn, live } = usePage();
  const [chosen, choose] = useState<number | null>(null);
  const ids = drawn.slice(0, mostRuns).map(({ run }) => run);
  const text = ids.join("\0");
  // biome-ignore lint/correctness/useExhaustiveDependencies: `text` is all of `ids`
  const runs = useMemo(() => ids, [text]);
  const query = useQuery({
    ...mediaQuery(project, { key, runs, step: chosen, most: mostValues }),
    placeholderData: keepPreviousData,
    enabled: runs.length > 0,
  });
  const revision = useStore(live.tick, () => Math.max(0, ...runs.map((run) => live.revision(run))));
  useRefresh(revision, () => void query.refetch());
  const data = runs.length > 0 ? query.data : undefined;
  const steps = useMemo(() => unionOfSteps(data?.runs ?? []), [data]);
  const wanted = chosen === null ? undefined : steps.findLast((step) => step <= chosen);
  return {
    runs: data?.runs ?? NO_RUNS,
    left: Math.max(0, drawn.length - mostRuns),
    steps,
    step: wanted ?? steps.at(-1) ?? null,
    choose,
    isLoading: query.isPending && runs.length > 0,
    error: query.error,
    retry: () => void query.refetch(),
  };
}

/** Calls `refresh` when the revision grows, with a delay. */
function useRefresh(revision: number, refresh: () => void): void {
  const seen = useRef(revision);
  const call = useRef(refresh);
  call.current = refresh;
  useEffect(() => {
    if (revision === seen.current) return;
    const timer = setTimeout(() => {
      seen.current = revision;
      call.current();
    }, REFRESH_MS);
    return () => clearTimeout(timer);
  }, [revision]);
}
