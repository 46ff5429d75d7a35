/** Puts together what a project's page shares, each part as stable as what it is made of. */

import { useMemo, useRef } from "react";
import { fetchCharts, type Manner, type Member } from "../api/curves";
import type { ProjectRef, Run } from "../api/types";
import { Coalescer } from "../charts/coalesce";
import { Shelf } from "../charts/shelf";
import { toJson } from "../json";
import { stepsOf, toMembers } from "../runs/choose";
import { Colours, colourOf } from "../runs/palette";
import { type Drawn, type Query, useDrawn, useRunQuery } from "../runs/useRuns";
import type { Live } from "../state/live";
import { useDark } from "../state/theme";
import { useView } from "../state/view";
import type { Page } from "./page";
import { useLive } from "./useLive";

/** The same value for as long as it says the same, so that panels can tell at a glance. */
function useSame<T>(value: T): T {
  const held = useRef({ text: toJson(value), value });
  const text = toJson(value);
  if (text !== held.current.text) held.current = { text, value };
  return held.current.value;
}

function useShelf(project: ProjectRef, live: Live): Shelf {
  return useMemo(() => new Shelf(project, new Coalescer(fetchCharts), live), [project, live]);
}

function useColours(members: readonly Member[]): ReadonlyMap<string, string> {
  const isDark = useDark();
  const colours = useRef(new Colours());
  return useMemo(() => {
    const indices = colours.current.assign(members.map(({ id }) => id));
    return new Map([...indices].map(([id, index]) => [id, colourOf(index, isDark)]));
  }, [members, isDark]);
}

function useManner(isGrouped: boolean): Manner {
  const x = useView((shown) => shown.x);
  const ranks = useView((shown) => shown.ranks);
  return useMemo(() => ({ x, ranks, isGrouped }), [x, ranks, isGrouped]);
}

const nameOf = ({ run, name }: Run) => name || run;

/** `drawn` need not be what the query says: a run's page draws just that run. */
function usePageOf(project: ProjectRef, query: Query, drawn: Drawn, group: string | null): Page {
  const live = useLive(project);
  const shelf = useShelf(project, live);
  const { runs, total, isLoading } = drawn;
  const members = useSame(toMembers(runs, group));
  const manner = useManner(group !== null);
  const colours = useColours(members);
  const names = useMemo(
    () =>
      new Map(
        group === null
          ? runs.map((run) => [run.run, nameOf(run)])
          : members.map(({ id }) => [id, id]),
      ),
    [runs, members, group],
  );
  const memberOf = useMemo(
    () => new Map(members.flatMap(({ id, runs: ofGroup }) => ofGroup.map((run) => [run, id]))),
    [members],
  );
  const domain = useSame(stepsOf(runs));
  return useMemo(
    () => ({
      project,
      live,
      shelf,
      query,
      drawn: runs,
      total,
      isLoading,
      members,
      manner,
      names,
      colours,
      memberOf,
      domain,
    }),
    [
      project,
      live,
      shelf,
      query,
      runs,
      total,
      isLoading,
      members,
      manner,
      names,
      colours,
      memberOf,
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

/** A page of a single run. */
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
