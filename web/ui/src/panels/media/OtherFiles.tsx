/** Media without a panel of their own: files to download. */

import { fileUrl } from "../../api/media";
import { usePage } from "../../state/page";
import { baseName, formatBytes } from "../../util/files";
import { DownloadIcon } from "../../widgets/icons";
import { type FileProps, MediaFiles } from "./MediaFiles";
import { mediaKind } from "./mediaKind";

export const otherKind = mediaKind({
  name: "other",
  shows: "other media",
  maxRuns: [24, 100],
  Content: (props) => <MediaFiles {...props} File={FileLink} />,
});

function FileLink({ run, kind, file }: FileProps) {
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
