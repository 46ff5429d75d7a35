/** Audio files. */

import { fileUrl } from "../../api/media";
import { usePage } from "../../state/page";
import { type FileProps, MediaFiles, MissingFile } from "./MediaFiles";
import { mediaKind } from "./mediaKind";
import { useFileRetry } from "./Picture";

export const audioKind = mediaKind({
  name: "audio",
  shows: ["audio-file", "audio/separated"],
  maxRuns: [12, 50],
  Content: (props) => <MediaFiles {...props} File={Player} />,
});

function Player({ run, file }: FileProps) {
  const { project } = usePage();
  const { attempt, isMissing, onError } = useFileRetry();
  const src = fileUrl(project, run, file.path, { sha256: file.sha256 });
  if (isMissing) return <MissingFile />;
  // biome-ignore lint/a11y/useMediaCaption: none were logged
  return <audio key={attempt} controls preload="metadata" src={src} onError={onError} />;
}
