/** Images of the selected runs side by side; a click opens one in a lightbox. */

import { useMemo, useState } from "react";
import { Lightbox, type Shown } from "./Lightbox";
import { type MediaProps, mediaKind } from "./mediaKind";
import { Picture } from "./Picture";
import { More, RunHead } from "./RunHead";
import { filesOf } from "./values";

export const imagesKind = mediaKind({
  name: "images",
  shows: ["image-file", "images/separated"],
  maxRuns: [24, 100],
  Content: Images,
});

function Images({ name, media }: MediaProps) {
  const { runs, step, left } = media;
  const [open, setOpen] = useState<number | null>(null);
  const groups = useMemo(
    () =>
      runs
        .map((of) => ({ of, files: of.values.flatMap(({ value }) => filesOf(value)) }))
        .filter(({ files }) => files.length > 0),
    [runs],
  );
  const all = useMemo<Shown[]>(
    () => groups.flatMap(({ of, files }) => files.map((file) => ({ run: of.run, file }))),
    [groups],
  );
  let place = 0;
  return (
    <>
      <div className={all.length === 1 ? "images is-single" : "images"}>
        {groups.map(({ of, files }) => {
          const start = place;
          place += files.length;
          return (
            <figure key={of.run} className={files.length > 1 ? "images-run is-list" : "images-run"}>
              <RunHead of={of} step={step} />
              <div className="images-grid">
                {files.map((file, at) => (
                  <button
                    key={file.path}
                    type="button"
                    className="tile"
                    aria-label={`Show ${file.caption || file.path}`}
                    title={file.caption || undefined}
                    onClick={() => setOpen(start + at)}
                  >
                    <Picture run={of.run} file={file} />
                    {file.caption && <span className="tile-caption">{file.caption}</span>}
                  </button>
                ))}
              </div>
            </figure>
          );
        })}
      </div>
      <More left={left} />
      {open !== null && all[open] && (
        <Lightbox name={name} all={all} at={open} media={media} onMove={setOpen} />
      )}
    </>
  );
}
