/** Runs of the current query: a window for lists, and the selected ones. */

import { useQueries, useQuery } from "@tanstack/react-query";
import { useDeferredValue, useMemo } from "react";
import { fieldsQuery, type RunQuery, type RunsRequest, runsQuery } from "../api/queries";
import type { Field, ProjectRef, Run } from "../api/types";
import { compileFilter } from "../filter/compile";
import { chooseRuns } from "./choose";
import { isShown, MAX_DRAWN, MAX_GROUPED } from "./url";
import { useView } from "./view";

const NO_FIELDS: readonly Field[] = [];
const NO_RUNS: readonly Run[] = [];
const PAGE = 100;

export interface Query extends RunQuery {
  fields: readonly Field[];
  /** Error in the filter, which is then not applied. */
  problem: string | null;
  /** False until the fields are known, if there is a filter to compile. */
  isReady: boolean;
}

/** The query of the current view. */
export function useRunQuery(project: ProjectRef): Query {
  const search = useDeferredValue(useView((shown) => shown.search)).trim();
  const text = useView((shown) => shown.filter);
  const order = useView((shown) => shown.sort);
  const known = useQuery(fieldsQuery(project));
  const fields = known.data ?? NO_FIELDS;
  const isReady = text === "" || !known.isPending;
  const names = fields.map(({ path, kinds }) => `${path}:${kinds}`).join(" ");
  // biome-ignore lint/correctness/useExhaustiveDependencies: `names` is all of `fields` that counts
  const compiled = useMemo(() => compileFilter(text, fields), [text, names]);
  const filter = "filter" in compiled ? compiled.filter : null;
  const problem = "problem" in compiled ? compiled.problem.message : null;
  return useMemo(
    () => ({ search, filter, order, fields, problem, isReady }),
    [search, filter, order, fields, problem, isReady],
  );
}

const pickQuery = ({ search, filter, order }: RunQuery) => ({ search, filter, order });

export interface RunWindow {
  total: number | null;
  at(place: number): Run | undefined;
  error: unknown;
  retry(): void;
}

/** The runs at positions `first` … `last`, fetched in pages; always includes the first page. */
export function useRunWindow(
  project: ProjectRef,
  query: Query,
  fields: readonly string[],
  first: number,
  last: number,
): RunWindow {
  const pages = new Set([0]);
  for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page++)
    pages.add(page);
  const numbers = [...pages];
  return useQueries({
    queries: numbers.map((page) => ({
      ...runsQuery(project, { ...pickQuery(query), limit: PAGE, offset: page * PAGE, fields }),
      enabled: query.isReady,
    })),
    combine: (results) => ({
      total: results[0].data?.total ?? null,
      at: (place: number) =>
        results[numbers.indexOf(Math.floor(place / PAGE))]?.data?.runs[place % PAGE],
      error: results.find(({ error }) => error)?.error ?? null,
      retry: () => {
        for (const { isError, refetch } of results) if (isError) void refetch();
      },
    }),
  });
}

export interface Drawn {
  runs: readonly Run[];
  /** Number of runs in the query. */
  total: number | null;
  isLoading: boolean;
  error: unknown;
  retry(): void;
}

/** The selected runs: the first of the query, and those selected by hand if they match it. */
export function useDrawn(project: ProjectRef, query: Query): Drawn {
  const selection = useView((shown) => shown.selection);
  const group = useView((shown) => shown.group);
  const limit = group === null ? MAX_DRAWN : MAX_GROUPED;
  const fields = group === null ? [] : [group];
  const most = Math.min(limit, selection.most);
  const first = useQuery({
    ...runsQuery(project, { ...pickQuery(query), limit: most, fields }),
    enabled: query.isReady,
  });
  const wanted = [...selection.shown].slice(0, limit).sort();
  const known = new Set(first.data?.runs.map(({ run }) => run));
  const isMissing = wanted.some((run) => !known.has(run));
  const extra = useQuery({
    ...runsQuery(project, { ...restrictedTo(query, wanted), limit, fields }),
    enabled: query.isReady && isMissing && first.isSuccess,
  });
  const firstRuns = first.data?.runs ?? NO_RUNS;
  const extraRuns = (isMissing && extra.data?.runs) || NO_RUNS;
  const runs = useMemo(
    () => chooseRuns(firstRuns, extraRuns, selection, limit),
    [firstRuns, extraRuns, selection, limit],
  );
  return {
    runs,
    total: first.data?.total ?? null,
    isLoading: first.isPending || (isMissing && extra.isPending),
    error: first.error ?? extra.error,
    retry: () => void first.refetch().then(() => extra.refetch()),
  };
}

function restrictedTo(
  query: RunQuery,
  runs: readonly string[],
): Omit<RunsRequest, "limit" | "fields"> {
  const isOneOf = { run: { $in: runs } };
  const filter = query.filter ? { $and: [query.filter, isOneOf] } : isOneOf;
  return { ...pickQuery(query), filter };
}

/** Whether a run is selected, by its place in the list. */
export function useIsShown(): (run: string, place: number) => boolean {
  const selection = useView((shown) => shown.selection);
  const isGrouped = useView((shown) => shown.group !== null);
  const most = Math.min(selection.most, isGrouped ? MAX_GROUPED : MAX_DRAWN);
  return useMemo(() => {
    const capped = { ...selection, most };
    return (run, place) => isShown(capped, run, place);
  }, [selection, most]);
}
