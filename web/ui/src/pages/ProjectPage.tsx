/** A project: its runs beside its charts, or as a table. */

import { lazy, Suspense, useMemo, useRef, useState } from "react";
import type { ProjectRef } from "../api/types";
import { Tooltip } from "../panels/chart/Tooltip";
import { FullScreen } from "../panels/FullScreen";
import { keysOf, type Logged } from "../panels/model/logged";
import { Sections } from "../panels/Sections";
import { useLogged } from "../panels/useLogged";
import { PageProvider, usePage } from "../state/page";
import { useProjectPage } from "../state/useProjectPage";
import { useTitle } from "../state/useTitle";
import { routes, useView, view } from "../state/view";
import { Link } from "../widgets/Link";
import { Loading } from "../widgets/Loading";
import { Problem } from "../widgets/Problem";
import { Wordmark } from "../widgets/Wordmark";
import { RunList } from "./runs/RunList";
import { Onboarding } from "./shared/Onboarding";
import { ProjectMenu } from "./shared/ProjectMenu";
import { ChartsToolbar } from "./shared/Toolbar";
import { useKeys } from "./shared/useKeys";

const RunTable = lazy(() => import("./table/RunTable"));

export default function ProjectPage({ project }: { project: ProjectRef }) {
  const { page, drawn } = useProjectPage(project);
  const isTable = useView((shown) => shown.isTable);
  useTitle(project.project);
  return (
    <PageProvider value={page}>
      {isTable ? (
        <Suspense fallback={<Loading />}>
          <RunTable />
        </Suspense>
      ) : (
        <ChartsPage error={drawn.error} onRetry={drawn.retry} />
      )}
    </PageProvider>
  );
}

function ChartsPage({ error, onRetry }: { error: unknown; onRetry(): void }) {
  const { project } = usePage();
  const full = useView((shown) => shown.full);
  const [isDrawerOpen, setDrawerOpen] = useState(false);
  const main = useRef<HTMLElement>(null);
  const { logged, error: keysError, retry } = useLogged(project);
  useKeys(useMemo(() => keysOf(logged), [logged]));
  const problem = error ?? keysError;
  return (
    <>
      <div className={isDrawerOpen ? "page is-drawer-open" : "page"} inert={full !== null}>
        <aside className="sidebar">
          <div className="sidebar-head">
            <Link to={routes.list()} aria-label="Penstock: all projects" title="All projects">
              <Wordmark />
            </Link>
          </div>
          <ProjectMenu current={project} />
          <RunList />
        </aside>
        <button
          type="button"
          className="scrim"
          aria-label="Hide runs"
          onClick={() => setDrawerOpen(false)}
        />
        <main ref={main} className="main">
          <h1 className="unseen">{project.project}</h1>
          <ChartsToolbar onMenu={() => setDrawerOpen(true)} />
          {problem && !logged.metrics ? (
            <Problem
              error={problem}
              onRetry={() => {
                onRetry();
                retry();
              }}
            >
              <Link className="link" to={routes.list()}>
                All projects
              </Link>
            </Problem>
          ) : (
            <Content logged={logged} scroller={main} />
          )}
        </main>
      </div>
      {full !== null && <FullScreen key={full} name={full} logged={logged} />}
      <Tooltip />
    </>
  );
}

interface ContentProps {
  logged: Logged;
  scroller: React.RefObject<HTMLElement | null>;
}

function Content({ logged, scroller }: ContentProps) {
  const { total, drawn, isLoading, query } = usePage();
  const { metrics, media } = logged;
  const isFiltered = query.search !== "" || query.filter !== null;
  if (metrics === null || media === null || total === null) return <Loading />;
  if (total === 0 && isFiltered) return <NoRuns />;
  if (total === 0) return <Onboarding />;
  if (metrics.size === 0 && media.size === 0) return <NoMetrics />;
  if (drawn.length === 0 && !isLoading) return <NoneSelected />;
  return <Sections logged={logged} scroller={scroller} />;
}

function NoRuns() {
  return (
    <div className="note">
      <h2>No matches</h2>
      <p>No runs match your search and filter.</p>
      <button
        type="button"
        className="button"
        onClick={() => view.go({ ...view.get(), search: "", filter: "" })}
      >
        Show all runs
      </button>
    </div>
  );
}

function NoneSelected() {
  return (
    <div className="note">
      <h2>No runs selected</h2>
      <p>Use the eye icon to show a run.</p>
    </div>
  );
}

function NoMetrics() {
  return (
    <div className="note">
      <h2>No metrics yet</h2>
      <p>The runs in this project have not logged any metrics. Charts appear when they do.</p>
    </div>
  );
}
