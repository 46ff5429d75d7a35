/** HTML files. */

import { useQuery } from "@tanstack/react-query";
import { fileUrl, textQuery } from "../../api/media";
import { usePage } from "../../state/page";
import { baseName } from "../../util/files";
import { type FileProps, MediaFiles, MissingFile } from "./MediaFiles";
import { mediaKind } from "./mediaKind";

export const htmlKind = mediaKind({
  name: "html",
  shows: ["html-file", "html/separated"],
  maxRuns: [6, 24],
  Content: (props) => <MediaFiles {...props} File={HtmlFrame} />,
});

/** Sandboxed without scripts, origin or network. */
function HtmlFrame({ run, file }: FileProps) {
  const { project } = usePage();
  const found = useQuery({
    ...textQuery(project, run, file.path, file.sha256, 1),
    refetchInterval: (query) => (query.state.error ? 4_000 : false),
    retry: false,
  });
  if (found.error) return <MissingFile />;
  return (
    <iframe
      sandbox=""
      loading="lazy"
      title={file.caption || baseName(file.path)}
      src={fileUrl(project, run, file.path, { sha256: file.sha256 })}
    />
  );
}
