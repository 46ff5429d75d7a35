/** All projects, most recently active first. */

import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { projectsQuery } from "../api/queries";
import type { Project } from "../api/types";
import { matcher } from "../state/search";
import { useNow } from "../state/useNow";
import { useTitle } from "../state/useTitle";
import { routes } from "../state/view";
import { formatAgo, formatStep } from "../util/format";
import { Link } from "../widgets/Link";
import { Loading } from "../widgets/Loading";
import { Problem } from "../widgets/Problem";
import { SearchBox } from "../widgets/SearchBox";
import { Wordmark } from "../widgets/Wordmark";
import { LogOutButton, ThemeButton } from "./shared/CornerButtons";
import { Onboarding } from "./shared/Onboarding";
import { useKeys } from "./shared/useKeys";

/** A project with data this recent is active. */
const LIVE_S = 30;
const NO_KEYS: readonly string[] = [];

export default function ProjectsPage() {
  const projects = useQuery(projectsQuery);
  useTitle("Projects");
  useKeys(NO_KEYS);
  return (
    <div className="projects-page">
      <header className="toolbar">
        <Link to={routes.list()}>
          <Wordmark />
        </Link>
        <span className="toolbar-space" />
        <ThemeButton />
        <LogOutButton />
      </header>
      <main className="projects">
        {projects.error && !projects.data ? (
          <Problem error={projects.error} onRetry={() => void projects.refetch()} />
        ) : !projects.data ? (
          <Loading />
        ) : projects.data.length === 0 ? (
          <Onboarding />
        ) : (
          <ProjectList projects={projects.data} />
        )}
      </main>
    </div>
  );
}

function ProjectList({ projects }: { projects: readonly Project[] }) {
  const [search, setSearch] = useState("");
  const now = useNow(5_000);
  const found = useMemo(() => {
    const isMatch = matcher(search);
    return projects
      .filter(({ entity, project }) => isMatch(`${entity}/${project}`))
      .sort((a, b) => b.updated_at - a.updated_at);
  }, [projects, search]);
  const hasEntities = new Set(projects.map(({ entity }) => entity)).size > 1;
  return (
    <>
      <div className="projects-head">
        <h1>Projects</h1>
        <span className="count">{formatStep(projects.length)}</span>
        <span className="toolbar-space" />
        <SearchBox
          name="panels"
          label="Search projects"
          placeholder="Search projects"
          shortcut="/"
          value={search}
          onChange={setSearch}
        />
      </div>
      {found.length === 0 && <p className="projects-none">No matching projects.</p>}
      <ul className="project-list">
        {found.map((each) => (
          <ProjectRow
            key={`${each.entity}/${each.project}`}
            project={each}
            hasEntity={hasEntities}
            now={now}
          />
        ))}
      </ul>
    </>
  );
}

interface RowProps {
  project: Project;
  hasEntity: boolean;
  now: number;
}

function ProjectRow({ project, hasEntity, now }: RowProps) {
  const { entity, project: name, runs, created_at, updated_at } = project;
  const isLive = now - updated_at < LIVE_S;
  return (
    <li>
      <Link className="project-row" to={routes.project({ entity, project: name })}>
        <span className={isLive ? "live-dot is-live" : "live-dot"} aria-hidden="true" />
        <span className="project-row-name">
          {hasEntity && <span className="project-row-entity">{entity} / </span>}
          {name}
        </span>
        <span className="project-row-runs">
          {formatStep(runs)} {runs === 1 ? "run" : "runs"}
        </span>
        <time className="project-row-age" title={new Date(updated_at * 1000).toLocaleString()}>
          {isLive ? "active now" : `active ${formatAgo(updated_at, now)}`}
        </time>
        <time className="project-row-made">created {formatAgo(created_at, now)}</time>
      </Link>
    </li>
  );
}
