/** An image with its logged boxes and masks. */

import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { fileUrl, textQuery } from "../../api/media";
import { usePage } from "../../state/page";
import { colourOf } from "../../state/palette";
import { useDark } from "../../state/theme";
import { type Box, boxesOf, type Layer, type MediaFile } from "./values";

/** Images up to this size are scaled with sharp pixels. */
const SMALL_PX = 128;
const RETRY_MS = 4_000;

interface Props {
  run: string;
  file: MediaFile;
  hasLayers?: boolean;
  /** Called with the natural size of the image once it is loaded. */
  onSize?(width: number, height: number): void;
}

/** Retries a file that is missing: it may be uploaded after the value that names it. */
export function useFileRetry(): { attempt: number; isMissing: boolean; onError(): void } {
  const [attempt, setAttempt] = useState(0);
  const [isMissing, setMissing] = useState(false);
  useEffect(() => {
    if (!isMissing) return;
    const timer = setTimeout(() => {
      setMissing(false);
      setAttempt((before) => before + 1);
    }, RETRY_MS);
    return () => clearTimeout(timer);
  }, [isMissing]);
  return { attempt, isMissing, onError: () => setMissing(true) };
}

export function Picture({ run, file, hasLayers = true, onSize }: Props) {
  const { project } = usePage();
  const [size, setSize] = useState({ width: file.width, height: file.height });
  const { attempt, isMissing, onError } = useFileRetry();
  const isSmall = size.width > 0 && Math.max(size.width, size.height) <= SMALL_PX;
  const ratio = size.width > 0 && size.height > 0 ? size.width / size.height : 1;
  return (
    <span
      className="picture"
      style={{ aspectRatio: ratio, "--ratio": ratio } as React.CSSProperties}
    >
      {isMissing ? (
        <span className="picture-missing">not uploaded yet</span>
      ) : (
        <img
          key={`${file.path} ${attempt}`}
          className={isSmall ? "is-small" : undefined}
          src={fileUrl(project, run, file.path, { sha256: file.sha256 })}
          alt={file.caption}
          loading="lazy"
          decoding="async"
          draggable={false}
          onError={onError}
          onLoad={({ currentTarget }) => {
            const { naturalWidth: width, naturalHeight: height } = currentTarget;
            setSize({ width, height });
            onSize?.(width, height);
          }}
        />
      )}
      {hasLayers && !isMissing && (
        <>
          {file.masks.map((layer) => (
            <Mask key={layer.path} run={run} layer={layer} />
          ))}
          {file.boxes.map((layer) => (
            <Boxes key={layer.path} run={run} layer={layer} size={size} />
          ))}
        </>
      )}
    </span>
  );
}

interface LayerProps {
  run: string;
  layer: Layer;
}

function Boxes({ run, layer, size }: LayerProps & { size: { width: number; height: number } }) {
  const { project } = usePage();
  const found = useQuery(textQuery(project, run, layer.path, layer.sha256));
  if (found.data === undefined) return null;
  let boxes: Box[] = [];
  try {
    boxes = boxesOf(found.data, size.width, size.height);
  } catch {
    return null;
  }
  return boxes.map((box, at) => (
    <span
      // biome-ignore lint/suspicious/noArrayIndexKey: the boxes of one file never change
      key={at}
      className="picture-box"
      style={{
        left: `${box.left * 100}%`,
        top: `${box.top * 100}%`,
        width: `${box.width * 100}%`,
        height: `${box.height * 100}%`,
        color: colourOf(box.classId, true),
      }}
    >
      {box.label && <span className="picture-label">{box.label}</span>}
    </span>
  ));
}

/** Pixel values of a mask are class ids; 0, usually the background, is transparent. */
function Mask({ run, layer }: LayerProps) {
  const { project } = usePage();
  const canvas = useRef<HTMLCanvasElement>(null);
  const isDark = useDark();
  const url = fileUrl(project, run, layer.path, { sha256: layer.sha256 });
  useEffect(() => {
    const image = new Image();
    image.onload = () => {
      if (canvas.current) paintMask(canvas.current, image, isDark);
    };
    image.src = url;
    return () => {
      image.onload = null;
    };
  }, [url, isDark]);
  return <canvas ref={canvas} className="picture-mask" />;
}

function paintMask(canvas: HTMLCanvasElement, image: HTMLImageElement, isDark: boolean): void {
  const { naturalWidth: width, naturalHeight: height } = image;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) return;
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, width, height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const classId = pixels.data[at];
    const colour = Number.parseInt(colourOf(classId, isDark).slice(1), 16);
    pixels.data[at] = colour >> 16;
    pixels.data[at + 1] = (colour >> 8) & 255;
    pixels.data[at + 2] = colour & 255;
    pixels.data[at + 3] = classId === 0 ? 0 : 150;
  }
  context.putImageData(pixels, 0, 0);
}
