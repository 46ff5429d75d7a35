/** One image in full screen: left and right for other images, up and down for other steps, Esc to close. */

import { useEffect, useRef, useState } from "react";
import { createPortal } from "react-dom";
import { fileUrl } from "../../api/media";
import { usePage } from "../../state/page";
import { formatStep } from "../../util/format";
import { BackIcon, CloseIcon, DownloadIcon, LayersIcon } from "../../widgets/icons";
import { Picture } from "./Picture";
import { useRunStyle } from "./RunHead";
import type { MediaState } from "./useMediaOf";
import type { MediaFile } from "./values";

export interface Shown {
  run: string;
  file: MediaFile;
}

interface Props {
  name: string;
  all: readonly Shown[];
  at: number;
  media: MediaState;
  /** null: close. */
  onMove(at: number | null): void;
}

export function Lightbox({ name, all, at, media, onMove }: Props) {
  const { project } = usePage();
  const styleOf = useRunStyle();
  const root = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState<readonly [number, number] | null>(null);
  const [hasLayers, setLayers] = useState(true);
  const { run, file } = all[at];
  const { steps, step, choose } = media;
  useEffect(() => {
    const before = document.activeElement;
    root.current?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  const walkSteps = (by: number) => {
    if (step === null) return;
    const next = steps[steps.indexOf(step) + by];
    if (next !== undefined) choose(next === steps.at(-1) ? null : next);
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    const { key } = event;
    const acts: Record<string, () => void> = {
      Escape: () => onMove(null),
      ArrowLeft: () => onMove(Math.max(0, at - 1)),
      ArrowRight: () => onMove(Math.min(all.length - 1, at + 1)),
      ArrowUp: () => walkSteps(1),
      ArrowDown: () => walkSteps(-1),
    };
    event.stopPropagation();
    event.nativeEvent.stopImmediatePropagation();
    if (!acts[key]) return;
    event.preventDefault();
    acts[key]();
  };
  const isLayered = file.boxes.length + file.masks.length > 0;
  const { name: runName, colour } = styleOf(run);
  return createPortal(
    <div
      ref={root}
      className="lightbox"
      role="dialog"
      aria-modal="true"
      aria-label={file.caption || name}
      tabIndex={-1}
      onKeyDown={onKeyDown}
      onClick={({ target, currentTarget }) => {
        const isBeside = target instanceof Element && target.matches(".lightbox-stage");
        if (target === currentTarget || isBeside) onMove(null);
      }}
    >
      <header className="lightbox-head">
        <svg className="dot" viewBox="0 0 8 8" aria-hidden="true">
          <circle cx="4" cy="4" r="4" fill={colour} />
        </svg>
        <span className="lightbox-title">
          <b>{name}</b> <span className="count">{runName}</span>
        </span>
        <span className="toolbar-space" />
        {isLayered && (
          <button
            type="button"
            className="icon-button"
            aria-label="Boxes and masks"
            aria-pressed={hasLayers}
            title="Boxes and masks"
            onClick={() => setLayers(!hasLayers)}
          >
            <LayersIcon />
          </button>
        )}
        <a
          className="icon-button"
          href={fileUrl(project, run, file.path, { isDownload: true })}
          aria-label="Download"
          title="Download"
        >
          <DownloadIcon />
        </a>
        <button
          type="button"
          className="icon-button"
          aria-label="Close"
          title="Close (Esc)"
          onClick={() => onMove(null)}
        >
          <CloseIcon />
        </button>
      </header>
      <div className="lightbox-stage">
        <Picture
          key={`${run} ${file.path}`}
          run={run}
          file={file}
          hasLayers={hasLayers}
          onSize={(width, height) => setSize([width, height])}
        />
        <Arrow by={-1} at={at} count={all.length} onMove={onMove} />
        <Arrow by={1} at={at} count={all.length} onMove={onMove} />
      </div>
      <footer className="lightbox-foot">
        {file.caption && <p className="lightbox-caption">{file.caption}</p>}
        <p className="count">
          {step !== null && `step ${formatStep(step)} · `}
          {size && `${size[0]} × ${size[1]} · `}
          {at + 1} of {all.length}
        </p>
        {steps.length > 1 && step !== null && (
          <input
            type="range"
            min={0}
            max={steps.length - 1}
            value={steps.indexOf(step)}
            aria-label="Step"
            onChange={({ target }) => walkSteps(Number(target.value) - steps.indexOf(step))}
          />
        )}
      </footer>
    </div>,
    document.body,
  );
}

interface ArrowProps {
  by: 1 | -1;
  at: number;
  count: number;
  onMove(at: number): void;
}

function Arrow({ by, at, count, onMove }: ArrowProps) {
  const next = at + by;
  if (next < 0 || next >= count) return null;
  return (
    <button
      type="button"
      className={by < 0 ? "lightbox-arrow" : "lightbox-arrow is-next"}
      aria-label={by < 0 ? "Previous image" : "Next image"}
      onClick={() => onMove(next)}
    >
      <BackIcon />
    </button>
  );
}
