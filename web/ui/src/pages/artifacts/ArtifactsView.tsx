/** The artifacts that a run logged and used, with their files. */

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { artifactFilesQuery, artifactFileUrl, artifactsQuery } from "../../api/artifacts";
import type { ArtifactVersion, FileOfArtifact, ProjectRef } from "../../api/types";
import { formatBytes } from "../../util/files";
import { formatStep } from "../../util/format";
import { ChevronIcon, DownloadIcon, FileIcon, LayersIcon } from "../../widgets/icons";
import { Loading } from "../../widgets/Loading";
import { Problem } from "../../widgets/Problem";

const POLL_MS = 5_000;

interface Props {
  project: ProjectRef;
  run: string;
  state: string;
}

export default function ArtifactsView({ project, run, state }: Props) {
  const known = useQuery({
    ...artifactsQuery(project, run),
    refetchInterval: state === "running" ? POLL_MS : false,
  });
  if (known.error && !known.data) {
    return <Problem error={known.error} onRetry={() => void known.refetch()} />;
  }
  if (!known.data) return <Loading />;
  const { logged, used } = known.data;
  if (logged.length === 0 && used.length === 0) {
    return (
      <div className="note">
        <h2>No artifacts</h2>
        <p>This run has not logged or used any artifacts{state === "running" ? " yet" : ""}.</p>
      </div>
    );
  }
  return (
    <section className="artifacts" aria-label="Artifacts">
      <Versions title="Logged" versions={logged} />
      <Versions title="Used" versions={used} />
    </section>
  );
}

function Versions({ title, versions }: { title: string; versions: readonly ArtifactVersion[] }) {
  if (versions.length === 0) return null;
  return (
    <section aria-label={title}>
      <h2 className="artifacts-title">
        {title} <span className="count">{formatStep(versions.length)}</span>
      </h2>
      <ul className="files-tree">
        {versions.map((version) => (
          <li key={`${version.project}/${version.name}:${version.version}`}>
            <VersionRow version={version} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function VersionRow({ version }: { version: ArtifactVersion }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button
        type="button"
        className="file-row"
        aria-expanded={isOpen}
        title={version.description || undefined}
        onClick={() => setOpen(!isOpen)}
      >
        <ChevronIcon />
        <LayersIcon />
        <span className="file-name">
          {version.name}:{version.version}
        </span>
        {version.aliases.map((alias) => (
          <span key={alias} className="tag">
            {alias}
          </span>
        ))}
        <span className="count">{version.type}</span>
        <span className="file-size">{formatBytes(version.size_bytes)}</span>
      </button>
      {isOpen && <Files version={version} />}
    </>
  );
}

function Files({ version }: { version: ArtifactVersion }) {
  const known = useQuery(artifactFilesQuery(version));
  if (known.error && !known.data) {
    return <Problem error={known.error} onRetry={() => void known.refetch()} />;
  }
  if (!known.data) return <Loading />;
  const { files, total } = known.data;
  return (
    <ul>
      {files.map((file) => (
        <li key={file.path}>
          <FileRow version={version} file={file} />
        </li>
      ))}
      {total > files.length && (
        <li className="files-none">{formatStep(total - files.length)} more files</li>
      )}
    </ul>
  );
}

function FileRow({ version, file }: { version: ArtifactVersion; file: FileOfArtifact }) {
  return (
    <div className="file-line">
      <span className="file-row is-file" title={file.reference ?? file.path}>
        <FileIcon />
        <span className="file-name">{file.path}</span>
        <span className="file-size">
          {file.reference === null ? formatBytes(file.size_bytes) : "reference"}
        </span>
      </span>
      {file.reference === null && (
        <a
          className="icon-button"
          href={artifactFileUrl(version, file.path)}
          aria-label={`Download ${file.path}`}
          title="Download"
        >
          <DownloadIcon />
        </a>
      )}
    </div>
  );
}
