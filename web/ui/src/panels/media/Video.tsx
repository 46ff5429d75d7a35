/** Video files, and animated images logged as videos. */

import { fileUrl } from "../../api/media";
import { usePage } from "../../state/page";
import { type FileProps, MediaFiles, MissingFile } from "./MediaFiles";
import { mediaKind } from "./mediaKind";
import { useFileRetry } from "./Picture";

export const videoKind = mediaKind({
  name: "video",
  shows: ["video-file", "videos/separated"],
  maxRuns: [6, 24],
  Content: (props) => <MediaFiles {...props} File={Player} />,
});

function Player({ run, file }: FileProps) {
  const { project } = usePage();
  const { attempt, isMissing, onError } = useFileRetry();
  const src = fileUrl(project, run, file.path, { sha256: file.sha256 });
  if (isMissing) return <MissingFile />;
  if (/\.(gif|webp)$/i.test(file.path)) {
    return <img key={attempt} src={src} alt={file.caption} onError={onError} />;
  }
  return (
    // biome-ignore lint/a11y/useMediaCaption: none were logged
    <video key={attempt} controls loop playsInline preload="metadata" src={src} onError={onError} />
  );
}
