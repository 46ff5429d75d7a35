/** The files that runs logged, one below the other. */

import type { ReactNode } from "react";
import { toJson } from "../../util/json";
import type { MediaProps } from "./mediaKind";
import { More, RunHead } from "./RunHead";
import { filesOf, type MediaFile } from "./values";

export interface FileProps {
  run: string;
  /** The kind of its value. */
  kind: string;
  file: MediaFile;
}

interface Props extends MediaProps {
  /** Shows one file. */
  File(props: FileProps): ReactNode;
}

export function MediaFiles({ media, File }: Props) {
  return (
    <div className="media-files">
      {media.runs.map((of) => (
        <figure key={of.run} className="media-run">
          <RunHead of={of} step={media.step} />
          {of.values.flatMap(({ kind, value }) => {
            const files = filesOf(value);
            if (files.length === 0) return [<Unknown key="value" kind={kind} value={value} />];
            return files.map((file) => (
              <div key={file.path} className="media-one">
                <File run={of.run} kind={kind} file={file} />
                {file.caption && <figcaption>{file.caption}</figcaption>}
              </div>
            ));
          })}
        </figure>
      ))}
      <More left={media.left} />
    </div>
  );
}

/** Not uploaded yet: retries go on. */
export function MissingFile() {
  return <p className="media-missing">not uploaded yet</p>;
}

function Unknown({ kind, value }: { kind: string; value: unknown }) {
  return (
    <details className="media-unknown">
      <summary>{kind}</summary>
      <pre>{toJson(value, 2).slice(0, 20_000)}</pre>
    </details>
  );
}
