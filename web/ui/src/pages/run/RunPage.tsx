/** One run: its details and config beside its charts, logs, files and artifacts. */

import { useQuery } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense, useMemo, useRef, useState } from "react";
import { ApiError } from "../../api/http";
import { runQuery } from "../../api/queries";
import type { ProjectRef, Run } from "../../api/types";
import { ChartControls } from "../../panels/chart/ChartSettings";
import { Tooltip } from "../../panels/chart/Tooltip";
import { FullScreen } from "../../panels/FullScreen";
import { keysOf } from "../../panels/model/logged";
import { Sections } from "../../panels/Sections";
import { useLogged } from "../../panels/useLogged";
import { PageProvider } from "../../state/page";
import type { Tab } from "../../state/url";
import { useRunPageOf } from "../../state/useProjectPage";
import { useTitle } from "../../state/useTitle";
import { routes, useView, view } from "../../state/view";
import {
  BackIcon,
  ChartIcon,
  FileIcon,
  LayersIcon,
  LinesIcon,
  MenuIcon,
} from "../../widgets/icons";
import { Link } from "../../widgets/Link";
import { Loading } from "../../widgets/Loading";
import { Problem } from "../../widgets/Problem";
import { Segments } from "../../widgets/Segments";
import { StateIcon } from "../../widgets/StateIcon";
import { CornerButtons } from "../shared/CornerButtons";
import { PanelSearch, ZoomChip } from "../shared/Toolbar";
import { useKeys } from "../shared/useKeys";
import { RunActions } from "./RunActions";
import { Facts } from "./RunDetails";
import { Tree } from "./Tree";

const ArtifactsView = lazy(() => import("../artifacts/ArtifactsView"));
const Logs = lazy(() => import("../logs/Logs"));
const FilesView = lazy(() => import("../files/FilesView"));

export default function RunPage({ project, run }: { project: ProjectRef; run: string }) {
  const found = useQuery(runQuery(project, run));
  const page = useRunPageOf(project, found.data);
  useTitle(`${found.data?.name || run} · ${project.project}`);
  const isGone = found.error instanceof ApiError && found.error.status === 410;
  if (found.error && (isGone || !found.data)) {
    return (
      <main>
        <Problem error={found.error} onRetry={() => void found.refetch()}>
          <BackLink project={project} />
        </Problem>
      </main>
    );
  }
  return (
    <PageProvider value={page}>
      <Content project={project} id={run} run={found.data} />
    </PageProvider>
  );
}

function BackLink({ project }: { project: ProjectRef }) {
  const from = useView((shown) => shown);
  return (
    <Link className="back" to={routes.back({ ...from, project })}>
      <BackIcon />
      {project.project}
    </Link>
  );
}

function Content({ project, id, run }: { project: ProjectRef; id: string; run: Run | undefined }) {
  const full = useView((shown) => shown.full);
  const main = useRef<HTMLElement>(null);
  const [isDrawerOpen, setDrawerOpen] = useState(false);
  const runs = useMemo(() => [id], [id]);
  const { logged, error, retry } = useLogged(project, runs);
  const { metrics, media } = logged;
  const tab = useView((shown) => shown.tab);
  useKeys(useMemo(() => keysOf(logged), [logged]));
  return (
    <>
      <div
        className={isDrawerOpen ? "page is-run is-drawer-open" : "page is-run"}
        inert={full !== null}
      >
        <aside className="sidebar" aria-label="Run details">
          <div className="sidebar-head">
            <BackLink project={project} />
          </div>
          {run ? <About project={project} run={run} /> : <Loading />}
        </aside>
        <button
          type="button"
          className="scrim"
          aria-label="Hide run details"
          onClick={() => setDrawerOpen(false)}
        />
        <main ref={main} className={tab === "charts" ? "main" : "main is-filled"}>
          <header className="toolbar">
            <button
              type="button"
              className="icon-button menu-button"
              aria-label="Show run details"
              onClick={() => setDrawerOpen(true)}
            >
              <MenuIcon />
            </button>
            <span className="toolbar-project">{run?.name || id}</span>
            <TabSegments />
            {tab === "charts" && <PanelSearch />}
            <span className="toolbar-space" />
            {tab === "charts" && (
              <>
                <ZoomChip />
                <ChartControls />
              </>
            )}
            <CornerButtons />
          </header>
          <Suspense fallback={<Loading />}>
            {tab === "logs" ? (
              <Logs project={project} run={id} state={run?.state ?? "running"} />
            ) : tab === "files" ? (
              <FilesView project={project} run={id} state={run?.state ?? "running"} />
            ) : tab === "artifacts" ? (
              <ArtifactsView project={project} run={id} state={run?.state ?? "running"} />
            ) : error && !metrics ? (
              <Problem error={error} onRetry={retry} />
            ) : metrics === null || media === null ? (
              <Loading />
            ) : metrics.size === 0 && media.size === 0 ? (
              <div className="note">
                <h2>No metrics yet</h2>
                <p>This run has not logged any metrics.</p>
              </div>
            ) : (
              <Sections logged={logged} scroller={main} />
            )}
          </Suspense>
        </main>
      </div>
      {full !== null && <FullScreen key={full} name={full} logged={logged} />}
      <Tooltip />
    </>
  );
}

function TabSegments() {
  const tab = useView((shown) => shown.tab);
  return (
    <Segments<Tab>
      label="Run views"
      options={[
        ["charts", <TabName key="charts" icon={<ChartIcon />} name="Charts" />, "Charts and media"],
        ["logs", <TabName key="logs" icon={<LinesIcon />} name="Logs" />, "Console output"],
        ["files", <TabName key="files" icon={<FileIcon />} name="Files" />, "Files of this run"],
        [
          "artifacts",
          <TabName key="artifacts" icon={<LayersIcon />} name="Artifacts" />,
          "Artifacts logged and used",
        ],
      ]}
      value={tab}
      onChange={view.showTab}
    />
  );
}

function TabName({ icon, name }: { icon: ReactNode; name: string }) {
  return (
    <span className="tab-name">
      {icon}
      <span>{name}</span>
    </span>
  );
}

function About({ project, run }: { project: ProjectRef; run: Run }) {
  const [search, setSearch] = useState("");
  // Internal keys are shown only in search results.
  const summary = useMemo(
    () =>
      search
        ? run.summary
        : Object.fromEntries(Object.entries(run.summary).filter(([key]) => !key.startsWith("_"))),
    [run.summary, search],
  );
  return (
    <div className="about">
      <header className="about-head">
        <RunActions project={project} run={run}>
          <h1 title={run.name ?? run.run}>{run.name || run.run}</h1>
          <p className={`about-state is-${run.state}`}>
            <StateIcon state={run.state} />
            {run.state}
            {run.tags?.map((tag) => (
              <span key={tag} className="tag">
                {tag}
              </span>
            ))}
          </p>
          {run.notes && <p className="about-notes">{run.notes}</p>}
        </RunActions>
      </header>
      <Facts run={run} />
      <input
        type="search"
        className="about-search"
        data-search="runs"
        aria-label="Search config and summary"
        placeholder="Search config and summary"
        value={search}
        onChange={(event) => setSearch(event.target.value)}
      />
      <Tree title="Config" value={run.config} search={search} />
      <Tree title="Summary" value={summary} search={search} isFlat />
    </div>
  );
}
