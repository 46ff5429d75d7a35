/** Artifacts that runs logged and used, and the files in them. */

import { queryOptions } from "@tanstack/react-query";
import { apiUrl, getJson, segments } from "./http";
import type { ArtifactVersion, FileOfArtifact, ProjectRef } from "./types";

const PAGE_FILES = 1_000;

interface ArtifactsOfRun {
  logged: ArtifactVersion[];
  used: ArtifactVersion[];
}

interface FilesPage {
  files: FileOfArtifact[];
  total: number;
}

const versionPath = ({ entity, project, name, version }: ArtifactVersion) =>
  `projects/${segments(entity, project)}/artifacts/${segments(name, version)}/files`;

export const artifactsQuery = ({ entity, project }: ProjectRef, run: string) =>
  queryOptions({
    queryKey: ["artifacts", entity, project, run],
    queryFn: ({ signal }) =>
      getJson<ArtifactsOfRun>(`runs/${segments(entity, project, run)}/artifacts`, signal),
  });

/** The first files of a version. Versions never change. */
export const artifactFilesQuery = (version: ArtifactVersion) =>
  queryOptions({
    queryKey: ["artifact-files", version.entity, version.project, version.name, version.version],
    queryFn: ({ signal }) =>
      getJson<FilesPage>(`${versionPath(version)}?limit=${PAGE_FILES}`, signal),
    staleTime: Number.POSITIVE_INFINITY,
  });

/** Download address of a file in a version. */
export const artifactFileUrl = (version: ArtifactVersion, path: string) =>
  apiUrl(`${versionPath(version)}/${segments(...path.split("/"))}?download=true`);
