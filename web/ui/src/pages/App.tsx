/** The login, then the page for the address. Each page is a chunk of its own. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useMemo, useState } from "react";
import { onUnauthorized } from "../api/http";
import { projectsQuery, viewerQuery } from "../api/queries";
import type { ProjectRef } from "../api/types";
import { lacksEntity, withEntity } from "../state/url";
import { followHistory, useView } from "../state/view";
import { Loading } from "../widgets/Loading";
import { Problem } from "../widgets/Problem";
import { Login } from "./Login";
import { StatusBanner } from "./StatusBanner";

const ProjectsPage = lazy(() => import("./ProjectsPage"));
const ProjectPage = lazy(() => import("./ProjectPage"));
const RunPage = lazy(() => import("./run/RunPage"));
const ComparePage = lazy(() => import("./compare/ComparePage"));
const AuthorizePage = lazy(() => import("./AuthorizePage"));

/** The `wandb` client sends users here for an API key; all other pages share one path. */
const isAuthorize = /\/authorize$/.test(window.location.pathname);

export function App() {
  const client = useQueryClient();
  const [needsLogin, setNeedsLogin] = useState(false);
  useEffect(() => onUnauthorized(() => setNeedsLogin(true)), []);
  useEffect(followHistory, []);
  const viewer = useQuery({ ...viewerQuery, enabled: !needsLogin });
  if (needsLogin) {
    return (
      <Login
        onDone={() => {
          client.clear();
          setNeedsLogin(false);
        }}
      />
    );
  }
  if (viewer.error) return <Problem error={viewer.error} onRetry={() => void viewer.refetch()} />;
  if (!viewer.data) return <Loading />;
  return (
    <div className="frame">
      <StatusBanner />
      <div className="frame-page">
        <Suspense fallback={<Loading />}>
          {isAuthorize ? (
            <AuthorizePage viewer={viewer.data} />
          ) : (
            <Home entity={viewer.data.entity} />
          )}
        </Suspense>
      </div>
    </div>
  );
}

/** The project in the address, or the only one; null: the list of projects; undefined: not known yet.
 * `own` is the viewer's entity. */
function useProject(own: string): ProjectRef | null | undefined {
  const asked = useView((shown) => shown.project);
  const isList = useView((shown) => shown.isList);
  const needsAll = asked === null || lacksEntity(asked);
  const projects = useQuery({ ...projectsQuery, enabled: needsAll });
  const only = projects.data?.length === 1 && !isList ? projects.data[0] : undefined;
  const named = asked && projects.data ? withEntity(asked, projects.data, own) : asked;
  const { entity, project } = named ?? only ?? {};
  const ref = useMemo(() => (entity && project ? { entity, project } : null), [entity, project]);
  return needsAll && projects.isPending ? undefined : ref;
}

function Home({ entity }: { entity: string }) {
  const project = useProject(entity);
  const run = useView((shown) => shown.run);
  const isComparing = useView((shown) => shown.compare.length > 0);
  if (project === undefined) return <Loading />;
  if (project === null) return <ProjectsPage />;
  const key = `${project.entity}/${project.project}`;
  if (run !== null) return <RunPage key={`${key}/${run}`} project={project} run={run} />;
  if (isComparing) return <ComparePage key={key} project={project} />;
  return <ProjectPage key={key} project={project} />;
}
