/** All queries except curves, as TanStack Query options. */

import { queryOptions } from "@tanstack/react-query";
import { getJson, nameList, postJson, request, segments } from "./http";
import type {
  CreatedKey,
  Field,
  KeyInfo,
  Project,
  ProjectRef,
  Run,
  RunsDiff,
  RunsPage,
  RunsSearch,
  Status,
  Viewer,
} from "./types";

const STATUS_EVERY_MS = 20_000;
const STATUS_WRONG_MS = 5_000;
const STATUS_PATIENCE_MS = 8_000;
const STATUS_RETRIES = 1;

export type Filter = Record<string, unknown>;

/** Which runs, and in which order. */
export interface RunQuery {
  search: string;
  filter: Filter | null;
  order: string;
}

export interface RunsRequest extends RunQuery {
  limit: number;
  offset?: number;
  /** Paths of config and summary to return; all if omitted. */
  fields?: readonly string[];
}

const projectPath = ({ entity, project }: ProjectRef) => `projects/${segments(entity, project)}`;

export const viewerQuery = queryOptions({
  queryKey: ["viewer"],
  queryFn: ({ signal }) => getJson<Viewer>("viewer", signal),
  staleTime: Number.POSITIVE_INFINITY,
});

/** Polled slowly, and faster while there are problems. Times out if the server hangs. */
export const statusQuery = queryOptions({
  queryKey: ["status"],
  queryFn: async ({ signal }) => {
    const soon = AbortSignal.any([signal, AbortSignal.timeout(STATUS_PATIENCE_MS)]);
    return (await getJson<Status>("status", soon)).problems;
  },
  retry: STATUS_RETRIES,
  refetchInterval: (query) =>
    query.state.data?.length || query.state.error ? STATUS_WRONG_MS : STATUS_EVERY_MS,
});

/** Polled faster while there are no projects, so that the page opens when the first run starts. */
export const projectsQuery = queryOptions({
  queryKey: ["projects"],
  queryFn: async ({ signal }) =>
    (await getJson<{ projects: Project[] }>("projects", signal)).projects,
  refetchInterval: (query) => (query.state.data?.length ? 10_000 : 2_000),
});

/** Prefix of all query keys that depend on runs. */
export const runsKey = ({ entity, project }: ProjectRef) => ["runs", entity, project] as const;

/** One page of the query's runs. The previous page stays on screen while it loads. */
export const runsQuery = (project: ProjectRef, wanted: RunsRequest) =>
  queryOptions({
    queryKey: [...runsKey(project), wanted] as const,
    queryFn: ({ signal }) => {
      const { search, filter, fields, ...rest } = wanted;
      const body: RunsSearch = {
        ...rest,
        ...(search && { search }),
        ...(filter && { filter }),
        ...(fields && { fields: [...fields] }),
      };
      return postJson<RunsPage>(`${projectPath(project)}/runs/search`, body, signal);
    },
    placeholderData: (previous, before) =>
      (before?.queryKey.at(-1) as RunsRequest | undefined)?.offset === wanted.offset
        ? previous
        : undefined,
    gcTime: 60_000,
  });

export const runQuery = (project: ProjectRef, run: string) =>
  queryOptions({
    queryKey: ["run", project.entity, project.project, run],
    queryFn: ({ signal }) =>
      getJson<Run>(`runs/${segments(project.entity, project.project, run)}`, signal),
  });

export const fieldsQuery = (project: ProjectRef) =>
  queryOptions({
    queryKey: ["fields", project.entity, project.project],
    queryFn: async ({ signal }) =>
      (await getJson<{ fields: Field[] }>(`${projectPath(project)}/fields`, signal)).fields,
    staleTime: 30_000,
  });

/** Keys with points, in all runs of the project or in `runs`. */
export const keysQuery = (project: ProjectRef, runs: readonly string[] | null = null) =>
  queryOptions({
    queryKey: ["keys", project.entity, project.project, runs],
    queryFn: async ({ signal }) => {
      const query = runs ? `?runs=${nameList(runs)}` : "";
      return (await getJson<{ keys: KeyInfo[] }>(`${projectPath(project)}/keys${query}`, signal))
        .keys;
    },
  });

/** The first difference of each metric between two runs. */
export const diffQuery = (project: ProjectRef, runs: readonly string[]) =>
  queryOptions({
    queryKey: ["diff", project.entity, project.project, runs],
    queryFn: ({ signal }) => {
      const pair = nameList(runs);
      return getJson<RunsDiff>(`${projectPath(project)}/diff?runs=${pair}`, signal);
    },
    enabled: runs.length === 2,
  });

export async function logIn(apiKey: string): Promise<void> {
  await request("session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ api_key: apiKey }),
  });
}

/** Creates an API key. The server returns it only once. */
export const makeKey = async (label: string): Promise<string> =>
  (await postJson<CreatedKey>("api-keys", { label })).api_key;

export async function logOut(): Promise<void> {
  await request("session", { method: "DELETE" });
}
