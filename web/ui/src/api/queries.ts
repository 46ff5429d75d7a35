/** What the page asks for besides curves, as TanStack Query options. */

import { queryOptions } from "@tanstack/react-query";
import { getJson, request, segments } from "./http";
import type { KeyInfo, Project, ProjectRef, Run, Viewer } from "./types";

export const viewerQuery = queryOptions({
  queryKey: ["viewer"],
  queryFn: ({ signal }) => getJson<Viewer>("viewer", signal),
  staleTime: Number.POSITIVE_INFINITY,
});

/** Polled gently while there is nothing yet, so that the first run opens the page by itself. */
export const projectsQuery = queryOptions({
  queryKey: ["projects"],
  queryFn: async ({ signal }) =>
    (await getJson<{ projects: Project[] }>("projects", signal)).projects,
  refetchInterval: (query) => (query.state.data?.length ? 30_000 : 2_000),
});

export const runsQuery = ({ entity, project }: ProjectRef) =>
  queryOptions({
    queryKey: ["runs", entity, project],
    queryFn: async ({ signal }) =>
      (await getJson<{ runs: Run[] }>(`projects/${segments(entity, project)}/runs`, signal)).runs,
  });

export const keysQuery = ({ entity, project }: ProjectRef) =>
  queryOptions({
    queryKey: ["keys", entity, project],
    queryFn: async ({ signal }) =>
      (await getJson<{ keys: KeyInfo[] }>(`projects/${segments(entity, project)}/keys`, signal))
        .keys,
  });

export async function logIn(apiKey: string): Promise<void> {
  await request("session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ api_key: apiKey }),
  });
}

export async function logOut(): Promise<void> {
  await request("session", { method: "DELETE" });
}
