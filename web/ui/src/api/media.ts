/** Media, console lines and files of runs. */

import { queryOptions } from "@tanstack/react-query";
import { apiUrl, getJson, nameList, postJson, request, segments } from "./http";
import type { ConsolePage, FileOfRun, FilesPage, Media, MediaKey, ProjectRef } from "./types";

const runPath = ({ entity, project }: ProjectRef, run: string) =>
  `runs/${segments(entity, project, run)}`;

/** Keys of media (images, tables, histograms …) in all runs of the project, or in `runs`. */
export const mediaKeysQuery = (project: ProjectRef, runs: readonly string[] | null = null) =>
  queryOptions({
    queryKey: ["media-keys", project.entity, project.project, runs],
    queryFn: async ({ signal }) => {
      const query = runs ? `?runs=${nameList(runs)}` : "";
      const path = `projects/${segments(project.entity, project.project)}/media${query}`;
      return (await getJson<{ keys: MediaKey[] }>(path, signal)).keys;
    },
  });

export interface MediaRequest {
  key: string;
  runs: readonly string[];
  /** The latest values at or before this step; null: the last ones. */
  step: number | null;
  /** Maximum number of values per run. */
  most: number;
}

/** Values of a media key. The previous values stay on screen while new ones load. */
export const mediaQuery = (project: ProjectRef, wanted: MediaRequest) =>
  queryOptions({
    queryKey: ["media", project.entity, project.project, wanted.key, wanted] as const,
    queryFn: ({ signal }) =>
      postJson<Media>(
        "media",
        { ...project, key: wanted.key, runs: wanted.runs, step: wanted.step, most: wanted.most },
        signal,
      ),
    placeholderData: (previous, before) =>
      before?.queryKey[3] === wanted.key ? previous : undefined,
    gcTime: 60_000,
  });

/** Address of a run's file. With its hash, browsers can cache it. */
export function fileUrl(
  project: ProjectRef,
  run: string,
  name: string,
  { sha256, isDownload = false }: { sha256?: string; isDownload?: boolean } = {},
): string {
  const query = new URLSearchParams();
  if (sha256) query.set("sha256", sha256);
  if (isDownload) query.set("download", "true");
  const path = `${runPath(project, run)}/files/${segments(...name.split("/"))}`;
  return apiUrl(query.size > 0 ? `${path}?${query}` : path);
}

const PAGE_FILES = 5_000;
const MAX_FILES = 50_000;

export const filesQuery = (project: ProjectRef, run: string) =>
  queryOptions({
    queryKey: ["files", project.entity, project.project, run],
    queryFn: async ({ signal }) => {
      const files: FileOfRun[] = [];
      let after: string | null = null;
      do {
        const more: string = after === null ? "" : `&after=${encodeURIComponent(after)}`;
        const path = `${runPath(project, run)}/files?limit=${PAGE_FILES}${more}`;
        const page: FilesPage = await getJson<FilesPage>(path, signal);
        files.push(...page.files);
        after = page.next;
      } while (after !== null && files.length < MAX_FILES);
      return files;
    },
  });

/** The text of a file, at most its first `mostBytes` bytes. */
export const textQuery = (
  project: ProjectRef,
  run: string,
  name: string,
  sha256: string | undefined,
  mostBytes: number | null = null,
) =>
  queryOptions({
    queryKey: ["text", project.entity, project.project, run, name, sha256, mostBytes],
    queryFn: async ({ signal }) => {
      const path = `${runPath(project, run)}/files/${segments(...name.split("/"))}`;
      const headers: Record<string, string> =
        mostBytes === null ? {} : { Range: `bytes=0-${mostBytes - 1}` };
      const response = await request(path, { signal, headers });
      return response.text();
    },
    staleTime: sha256 ? Number.POSITIVE_INFINITY : 5_000,
  });

export interface ConsoleRequest {
  end: "first" | "last";
  limit: number;
  before?: string;
  after?: string;
  search?: string;
  lane?: number;
}

export function fetchConsole(
  project: ProjectRef,
  run: string,
  wanted: ConsoleRequest,
  signal?: AbortSignal,
): Promise<ConsolePage> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(wanted)) {
    if (value !== undefined && value !== "") query.set(name, String(value));
  }
  return getJson<ConsolePage>(`${runPath(project, run)}/console?${query}`, signal);
}
