/** HTML, audio, video and all other media that a run logged as files. */

import { useQuery } from "@tanstack/react-query";
import { fileUrl, textQuery } from "../../api/media";
import { usePage } from "../../state/page";
import { baseName, formatBytes } from "../../util/files";
import { toJson } from "../../util/json";
import { DownloadIcon } from "../../widgets/icons";
import { useFileRetry } from "./Picture";
import { More, RunHead } from "./RunHead";
import type { MediaState } from "./useMediaOf";
import { filesOf, type MediaFile, type Shape } from "./values";

interface Props {
  shape: Shape;
  media: MediaState;
}

export function Files({ shape, media }: Props) {
  return (
    <div className="media-files">
      {media.runs.map((of) => (
        <figure key={of.run} className="media-run">
          <RunHead of={of} step={media.step} />
          {of.values.flatMap(({ kind, value }) => {
            const files = filesOf(value);
            if (files.length === 0) return [<Unknown key="value" kind={kind} value={value} />];
            return files.map((file) => (
              <Item key={file.path} run={of.run} shape={shape} kind={kind} file={file} />
            ));
          })}
        </figure>
      ))}
      <More left={media.left} />
    </div>
  );
}

interface ItemProps {
  run: string;
  shape: Shape;
  kind: string;
  file: MediaFile;
}

function Item({ run, shape, kind, file }: ItemProps) {
  return (
    <div className={`media-one is-${shape}`}>
      {shape === "html" ? (
        <HtmlFrame run={run} file={file} />
      ) : shape === "audio" || shape === "video" ? (
        <Player run={run} isVideo={shape === "video"} file={file} />
      ) : (
        <FileLink run={run} kind={kind} file={file} />
      )}
      {file.caption && <figcaption>{file.caption}</figcaption>}
    </div>
  );
}

/** Sandboxed without scripts, origin or network. */
function HtmlFrame({ run, file }: { run: string; file: MediaFile }) {
  const { project } = usePage();
  const found = useQuery({
    ...textQuery(project, run, file.path, file.sha256, 1),
    refetchInterval: (query) => (query.state.error ? 4_000 : false),
    retry: false,
  });
  if (found.error) return <p className="media-missing">not uploaded yet</p>;
  return (
    <iframe
      sandbox=""
      loading="lazy"
      title={file.caption || baseName(file.path)}
      src={fileUrl(project, run, file.path, { sha256: file.sha256 })}
    />
  );
}

function Player({ run, isVideo, file }: { run: string; isVideo: boolean; file: MediaFile }) {
  const { project } = usePage();
  const { attempt, isMissing, onError } = useFileRetry();
  const src = fileUrl(project, run, file.path, { sha256: file.sha256 });
  if (isMissing) return <p className="media-missing">not uploaded yet</p>;
  if (isVideo && /\.(gif|webp)$/i.test(file.path)) {
    return <img key={attempt} src={src} alt={file.caption} onError={onError} />;
  }
  if (isVideo) {
    return (
      // biome-ignore lint/a11y/useMediaCaption: none were logged
      <video
        key={attempt}
        controls
        loop
        playsInline
        preload="metadata"
        src={src}
        onError={onError}
      />
    );
  }
  // biome-ignore lint/a11y/useMediaCaption: none were logged
  return <audio key={attempt} controls preload="metadata" src={src} onError={onError} />;
}

function FileLink({ run, kind, file }: { run: string; kind: string; file: MediaFile }) {
  const { project } = usePage();
  return (
    <a className="file-link" href={fileUrl(project, run, file.path, { isDownload: true })}>
      <DownloadIcon />
      <span className="file-link-name">{baseName(file.path)}</span>
      <span className="count">
        {kind.replace(/-file$/, "")}
        {file.bytes > 0 && `, ${formatBytes(file.bytes)}`}
      </span>
    </a>
  );
}

function Unknown({ kind, value }: { kind: string; value: unknown }) {
  return (
    <details className="media-unknown">
      <summary>{kind}</summary>
      <pre>{toJson(value, 2).slice(0, 20_000)}</pre>
    </details>
  );
}
