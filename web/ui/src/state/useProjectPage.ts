/** Builds the shared state of a page; each part changes only if its inputs do. */

import { useMemo, useRef } from "react";
import type { ChartOptions } from "../api/chartOptions";
import { fetchCharts, type Series } from "../api/curves";
import type { ProjectRef, Run } from "../api/types";
import { Coalescer } from "../charts/coalesce";
import { FeedCache } from "../charts/feedCache";
import { toJson } from "../util/json";
import { stepsOf, toSeries } from "./choose";
import type { Live } from "./live";
import type { Page } from "./page";
import { Colours, colourOf } from "./palette";
import { useDark } from "./theme";
import { useLive } from "./useLive";
import { type Drawn, type Query, useDrawn, useRunQuery } from "./useRuns";
import { useView } from "./view";

/** Returns the previous value while the content is equal, so that panels can compare by identity. */
function useStable<T>(value: T): T {
  const held = useRef({ text: toJson(value), value });
  const text = toJson(value);
  if (text !== held.current.text) held.current = { text, value };
  return held.current.value;
}

function useFeedCache(project: ProjectRef, live: Live): FeedCache {
  return useMemo(() => new FeedCache(project, new Coalescer(fetchCharts), live), [project, live]);
}

function useColours(series: readonly Series[]): ReadonlyMap<string, string> {
  const isDark = useDark();
  const colours = useRef(new Colours());
  return useMemo(() => {
    const indices = colours.current.assign(series.map(({ id }) => id));
    return new Map([...indices].map(([id, index]) => [id, colourOf(index, isDark)]));
  }, [series, isDark]);
}

function useChartOptions(isGrouped: boolean): ChartOptions {
  const x = useView((shown) => shown.x);
  const ranks = useView((shown) => shown.ranks);
  return useMemo(() => ({ x, ranks, isGrouped }), [x, ranks, isGrouped]);
}

const nameOf = ({ run, name }: Run) => name || run;

/** `drawn` may differ from the query: the run page draws a single run. */
function usePageOf(project: ProjectRef, query: Query, drawn: Drawn, group: string | null): Page {
  const live = useLive(project);
  const feedCache = useFeedCache(project, live);
  const { runs, total, isLoading } = drawn;
  const series = useStable(toSeries(runs, group));
  const chartOptions = useChartOptions(group !== null);
  const colours = useColours(series);
  const names = useMemo(
    () =>
      new Map(
        group === null
          ? runs.map((run) => [run.run, nameOf(run)])
          : series.map(({ id }) => [id, id]),
      ),
    [runs, series, group],
  );
  const seriesOf = useMemo(
    () => new Map(series.flatMap(({ id, runs: ofGroup }) => ofGroup.map((run) => [run, id]))),
    [series],
  );
  const domain = useStable(stepsOf(runs));
  return useMemo(
    () => ({
      project,
      live,
      feedCache,
      query,
      drawn: runs,
      total,
      isLoading,
      series,
      chartOptions,
      names,
      colours,
      seriesOf,
      domain,
    }),
    [
      project,
      live,
      feedCache,
      query,
      runs,
      total,
      isLoading,
      series,
      chartOptions,
      names,
      colours,
      seriesOf,
      domain,
    ],
  );
}

export function useProjectPage(project: ProjectRef): { page: Page; drawn: Drawn } {
  const query = useRunQuery(project);
  const drawn = useDrawn(project, query);
  const group = useView((shown) => shown.group);
  return { page: usePageOf(project, query, drawn, group), drawn };
}

/** The page of a single run. */
export function useRunPageOf(project: ProjectRef, run: Run | undefined): Page {
  const query = useRunQuery(project);
  const drawn = useMemo<Drawn>(
    () => ({
      runs: run ? [run] : [],
      total: run ? 1 : null,
      isLoading: run === undefined,
      error: null,
      retry: () => {},
    }),
    [run],
  );
  return usePageOf(project, query, drawn, null);
}
