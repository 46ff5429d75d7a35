/** The project shown, and the way to the others. */

import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { projectsQuery } from "../api/queries";
import type { Project, ProjectRef } from "../api/types";
import { formatAge } from "../format";
import { matcher } from "../state/search";
import { view } from "../state/view";
import { CheckIcon, UpDownIcon } from "./icons";
import { useNow } from "./useNow";

export function ProjectMenu({ current }: { current: ProjectRef }) {
  const [isOpen, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!isOpen) return;
    const onDown = (event: PointerEvent) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape") setOpen(false);
    };
    addEventListener("pointerdown", onDown);
    addEventListener("keydown", onKey);
    return () => {
      removeEventListener("pointerdown", onDown);
      removeEventListener("keydown", onKey);
    };
  }, [isOpen]);
  return (
    <div ref={root} className="project-menu">
      <button
        type="button"
        className="project-button"
        aria-expanded={isOpen}
        aria-label={`Project ${current.project}; switch`}
        onClick={() => setOpen(!isOpen)}
      >
        <span className="project-entity">{current.entity}</span>
        <span className="project-name">{current.project}</span>
        <UpDownIcon />
      </button>
      {isOpen && <ProjectList current={current} onDone={() => setOpen(false)} />}
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
    <div className="menu">
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
            <button
              type="button"
              className="menu-item"
              aria-current={isCurrent(one)}
              onClick={() => {
                view.openProject({ entity: one.entity, project: one.project });
                onDone();
              }}
            >
              <span className="menu-check">{isCurrent(one) && <CheckIcon />}</span>
              <span className="menu-name">{one.project}</span>
              <span className="menu-meta">
                {one.runs} {one.runs === 1 ? "run" : "runs"} · {formatAge(one.updated_at, now)}
              </span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
