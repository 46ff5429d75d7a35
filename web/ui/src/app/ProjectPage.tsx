/** A project: its runs beside its panels. */

import { useQuery } from "@tanstack/react-query";
import { useDeferredValue, useEffect, useMemo, useState } from "react";
import { fetchCharts } from "../api/curves";
import { keysQuery, runsQuery } from "../api/queries";
import type { KeyInfo, ProjectRef, Run } from "../api/types";
import { Coalescer } from "../charts/coalesce";
import { FullScreen } from "../charts/FullScreen";
import { Sections } from "../charts/Sections";
import { Shelf } from "../charts/shelf";
import { Tooltip } from "../charts/Tooltip";
import { chooseRuns } from "../runs/choose";
import { assignColours, colourOf } from "../runs/palette";
import { RunList } from "../runs/RunList";
import { useDark } from "../state/theme";
import { useView } from "../state/view";
import { Onboarding } from "./Onboarding";
import { Problem } from "./Problem";
import { ProjectMenu } from "./ProjectMenu";
import { type Page, PageProvider, usePage } from "./page";
import { Toolbar } from "./Toolbar";
import { useKeys } from "./useKeys";
import { useLive } from "./useLive";
import { Wordmark } from "./Wordmark";

const NO_RUNS: Run[] = [];
const NO_KEYS: KeyInfo[] = [];

/** The same array for as long as it holds the same, so that panels can tell at a glance. */
function useSame(items: readonly string[]): readonly string[] {
  const text = items.join("\n");
  // biome-ignore lint/correctness/useExhaustiveDependencies: `text` is what `items` holds
  return useMemo(() => items, [text]);
}

function usePageOf(project: ProjectRef, runs: readonly Run[]): Page {
  const live = useLive(project);
  const isDark = useDark();
  const selection = useDeferredValue(useView((shown) => shown.selection));
  const search = useDeferredValue(useView((shown) => shown.runSearch));
  const ids = runs.map(({ run }) => run).join(" ");
  const shelf = useMemo(
    () => new Shelf(project, new Coalescer(fetchCharts), live),
    [project, live],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: colours depend on which runs there are
  const colours = useMemo(() => {
    const indices = assignColours(runs);
    return new Map([...indices].map(([run, index]) => [run, colourOf(index, isDark)]));
  }, [ids, isDark]);
  const names = useMemo(() => new Map(runs.map(({ run, name }) => [run, name || run])), [runs]);
  const chosen = useMemo(() => chooseRuns(runs, search, selection), [runs, search, selection]);
  const drawn = useSame(chosen.drawn);
  return useMemo(
    () => ({ project, live, shelf, runs, names, colours, ...chosen, drawn }),
    [project, live, shelf, runs, names, colours, chosen, drawn],
  );
}

export function ProjectPage({ project }: { project: ProjectRef }) {
  const runs = useQuery(runsQuery(project));
  const keys = useQuery(keysQuery(project));
  const page = usePageOf(project, runs.data ?? NO_RUNS);
  const full = useView((shown) => shown.full);
  const [isDrawerOpen, setDrawerOpen] = useState(false);
  const names = useMemo(() => (keys.data ?? NO_KEYS).map(({ key }) => key), [keys.data]);
  useKeys(names);
  useEffect(() => {
    document.title = `${project.project} · Penstock`;
  }, [project]);
  const problem = runs.error ?? keys.error;
  return (
    <PageProvider value={page}>
      <div className={isDrawerOpen ? "page is-drawer-open" : "page"} inert={full !== null}>
        <aside className="sidebar">
          <div className="sidebar-head">
            <Wordmark />
          </div>
          <ProjectMenu current={project} />
          <RunList />
        </aside>
        <button
          type="button"
          className="scrim"
          aria-label="Hide the runs"
          onClick={() => setDrawerOpen(false)}
        />
        <main className="main">
          <Toolbar onMenu={() => setDrawerOpen(true)} />
          {problem && !(runs.data && keys.data) ? (
            <Problem
              error={problem}
              onRetry={() => void runs.refetch().then(() => keys.refetch())}
            />
          ) : (
            <Content keys={names} isLoading={runs.isPending || keys.isPending} />
          )}
        </main>
      </div>
      {full !== null && <FullScreen key={full} name={full} />}
      <Tooltip />
    </PageProvider>
  );
}

function Content({ keys, isLoading }: { keys: string[]; isLoading: boolean }) {
  const { runs } = usePage();
  if (isLoading) return <div className="page-loading" role="status" aria-label="Loading" />;
  if (runs.length === 0) return <Onboarding />;
  if (keys.length === 0) return <NoCurves />;
  return <Sections keys={keys} />;
}

function NoCurves() {
  return (
    <div className="note">
      <h2>No curves yet</h2>
      <p>The runs of this project have logged no numbers so far. Panels appear with the first.</p>
    </div>
  );
}
