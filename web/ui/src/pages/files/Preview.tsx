/** Preview of a file, without trusting its content. */

import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { fileUrl, textQuery } from "../../api/media";
import type { FileOfRun, ProjectRef } from "../../api/types";
import { baseName, formatBytes } from "../../util/files";
import { parseJson, toJson } from "../../util/json";
import { formatDate } from "../../util/time";
import { CloseIcon, DownloadIcon } from "../../widgets/icons";

/** Longer text is cut. */
const MAX_TEXT_BYTES = 512 * 1024;

interface Props {
  project: ProjectRef;
  run: string;
  file: FileOfRun;
  onClose(): void;
}

export function Preview({ project, run, file, onClose }: Props) {
  return (
    <aside className="preview" aria-label={file.name}>
      <header className="preview-head">
        <div className="preview-title">
          <h2 title={file.name}>{baseName(file.name)}</h2>
          <p className="count">
            {formatBytes(file.size_bytes)} · {file.content_type} · {formatDate(file.updated_at)}
          </p>
        </div>
        <a
          className="icon-button"
          href={fileUrl(project, run, file.name, { isDownload: true })}
          aria-label="Download"
          title="Download"
        >
          <DownloadIcon />
        </a>
        <button
          type="button"
          className="icon-button"
          aria-label="Close"
          title="Close"
          onClick={onClose}
        >
          <CloseIcon />
        </button>
      </header>
      <div className="preview-body">
        <Content project={project} run={run} file={file} />
      </div>
    </aside>
  );
}

function Content({ project, run, file }: Omit<Props, "onClose">) {
  const src = fileUrl(project, run, file.name, { sha256: file.sha256 });
  const type = file.content_type;
  if (file.size_bytes === 0) return <p className="preview-note">This file is empty.</p>;
  if (type.startsWith("image/")) return <img className="preview-image" src={src} alt={file.name} />;
  // biome-ignore lint/a11y/useMediaCaption: there are none
  if (type.startsWith("video/")) return <video controls src={src} />;
  // biome-ignore lint/a11y/useMediaCaption: there are none
  if (type.startsWith("audio/")) return <audio controls src={src} />;
  if (type === "text/html") return <iframe sandbox="" title={file.name} src={src} />;
  if (type.startsWith("text/") || type === "application/json") {
    return <Text project={project} run={run} file={file} />;
  }
  return <p className="preview-note">No preview available for this file type.</p>;
}

function Text({ project, run, file }: Omit<Props, "onClose">) {
  const found = useQuery(textQuery(project, run, file.name, file.sha256, MAX_TEXT_BYTES));
  const isCut = file.size_bytes > MAX_TEXT_BYTES;
  const isJson = file.content_type === "application/json" && !isCut;
  const text = useMemo(
    () => (isJson && found.data ? indented(found.data) : found.data),
    [found.data, isJson],
  );
  if (found.error) return <p className="preview-note">{found.error.message}</p>;
  if (text === undefined)
    return <div className="panel-loading" role="status" aria-label="Loading" />;
  return (
    <>
      <pre className="preview-text">{text}</pre>
      {isCut && (
        <p className="preview-note">
          Only the beginning is shown. Download the file to see the rest.
        </p>
      )}
    </>
  );
}

function indented(text: string): string {
  try {
    return toJson(parseJson(text), 2);
  } catch {
    return text;
  }
}
