/** The current project, with a menu of all projects. */

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { projectsQuery } from "../../api/queries";
import type { Project, ProjectRef } from "../../api/types";
import { matcher } from "../../state/search";
import { useNow } from "../../state/useNow";
import { routes } from "../../state/view";
import { formatAge } from "../../util/format";
import { CheckIcon, UpDownIcon } from "../../widgets/icons";
import { Link } from "../../widgets/Link";
import { Popover } from "../../widgets/Popover";

export function ProjectMenu({ current }: { current: ProjectRef }) {
  const button = (
    <>
      <span className="project-entity">{current.entity}</span>{" "}
      <span className="project-name">{current.project}</span>
      <UpDownIcon />
    </>
  );
  return (
    <div className="project-menu">
      <Popover
        label={`${current.entity} ${current.project}: switch project`}
        title="Switch project"
        className="project-button"
        button={button}
      >
        {(close) => <ProjectList current={current} onDone={close} />}
      </Popover>
    </div>
  );
}

function ProjectList({ current, onDone }: { current: ProjectRef; onDone(): void }) {
  const { data: projects = [] } = useQuery(projectsQuery);
  const [search, setSearch] = useState("");
  const now = useNow(30_000);
  const isMatch = matcher(search);
  const found = projects.filter(({ entity, project }) => isMatch(`${entity}/${project}`));
  const isCurrent = (one: Project) =>
    one.entity === current.entity && one.project === current.project;
  return (
    <>
      {projects.length > 8 && (
        <input
          className="menu-search"
          aria-label="Search projects"
          placeholder="Search projects"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
        />
      )}
      <ul>
        {found.map((one) => (
          <li key={`${one.entity}/${one.project}`}>
            <Link
              className="menu-item"
              to={routes.project({ entity: one.entity, project: one.project })}
              aria-current={isCurrent(one)}
              onClick={onDone}
            >
              <span className="menu-check">{isCurrent(one) && <CheckIcon />}</span>
              <span className="menu-name">{one.project}</span>
              <span className="menu-meta">
                {one.runs} {one.runs === 1 ? "run" : "runs"} · {formatAge(one.updated_at, now)}
              </span>
            </Link>
          </li>
        ))}
      </ul>
      <Link className="menu-item menu-foot" to={routes.list()}>
        All projects
      </Link>
    </>
  );
}
