/** Login, then the project of the address, or the one written to last. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { onUnauthorized } from "../api/http";
import { projectsQuery, viewerQuery } from "../api/queries";
import { followHistory, useView } from "../state/view";
import { Login } from "./Login";
import { Onboarding } from "./Onboarding";
import { Problem } from "./Problem";
import { ProjectPage } from "./ProjectPage";
import { Wordmark } from "./Wordmark";

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
  return viewer.data ? (
    <Home />
  ) : (
    <div className="page-loading" role="status" aria-label="Loading" />
  );
}

function Home() {
  const projects = useQuery(projectsQuery);
  const asked = useView((shown) => shown.project);
  const latest = projects.data?.toSorted((a, b) => b.updated_at - a.updated_at)[0];
  const chosen = asked ?? latest;
  const { entity, project } = chosen ?? {};
  const ref = useMemo(() => (entity && project ? { entity, project } : null), [entity, project]);
  if (ref) return <ProjectPage key={`${ref.entity}/${ref.project}`} project={ref} />;
  if (projects.error) {
    return <Problem error={projects.error} onRetry={() => void projects.refetch()} />;
  }
  if (projects.isPending)
    return <div className="page-loading" role="status" aria-label="Loading" />;
  return (
    <main className="welcome">
      <Wordmark />
      <Onboarding />
    </main>
  );
}
