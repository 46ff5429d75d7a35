/** Parses logged media values, which are untrusted. Pure. */

import { parseJson } from "../../util/json";

type Fields = Record<string, unknown>;

export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
const sizeOf = (value: unknown): number =>
  typeof value === "number" && value > 0 && Number.isFinite(value) ? value : 0;

/** A file of a value. */
export interface MediaFile {
  path: string;
  sha256?: string;
  caption: string;
  /** Pixels; 0: unknown. */
  width: number;
  height: number;
  bytes: number;
  /** Files of boxes and masks, by group name. */
  boxes: readonly Layer[];
  masks: readonly Layer[];
}

export interface Layer {
  group: string;
  path: string;
  sha256?: string;
}

function layersOf(value: unknown): Layer[] {
  if (!isFields(value)) return [];
  return Object.entries(value).flatMap(([group, layer]) =>
    isFields(layer) && textOf(layer.path) !== ""
      ? [{ group, path: textOf(layer.path), sha256: textOf(layer.sha256) || undefined }]
      : [],
  );
}

function fileOf(value: Fields): MediaFile {
  return {
    path: textOf(value.path),
    sha256: textOf(value.sha256) || undefined,
    caption: textOf(value.caption),
    width: sizeOf(value.width),
    height: sizeOf(value.height),
    bytes: sizeOf(value.size),
    boxes: layersOf(value.boxes),
    masks: layersOf(value.masks),
  };
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** The files of a value: one, or all of a list. */
export function filesOf(value: unknown): MediaFile[] {
  if (!isFields(value)) return [];
  if (textOf(value.path) !== "") return [fileOf(value)];
  const names = listOf(value.filenames);
  const captions = listOf(value.captions);
  const [boxes, masks] = [listOf(value.all_boxes), listOf(value.all_masks)];
  const own = names.flatMap((name, at) =>
    typeof name === "string"
      ? [
          fileOf({
            ...value,
            path: name,
            sha256: undefined,
            size: 0,
            caption: captions[at],
            boxes: boxes[at],
            masks: masks[at],
          }),
        ]
      : [],
  );
  const single = [...listOf(value.audio), ...listOf(value.videos), ...listOf(value.html)];
  return own.length > 0 ? own : single.filter(isFields).map(fileOf);
}

export interface Histogram {
  counts: readonly number[];
  /** One more than counts. */
  edges: readonly number[];
}

const numbersOf = (value: unknown): number[] | null =>
  Array.isArray(value) && value.every((each) => typeof each === "number") ? value : null;

/** Counts and edges; edges may be packed as minimum, size and count. */
export function histogramOf(value: unknown): Histogram | null {
  if (!isFields(value)) return null;
  const counts = numbersOf(value.values);
  if (counts === null || counts.length === 0) return null;
  const packed = value.packedBins;
  const edges = isFields(packed)
    ? counts.concat(0).map((_, at) => Number(packed.min) + at * Number(packed.size))
    : numbersOf(value.bins);
  if (edges === null || edges.length !== counts.length + 1) return null;
  return edges.every(Number.isFinite) ? { counts, edges } : null;
}

export interface TableData {
  columns: readonly string[];
  rows: readonly (readonly unknown[])[];
}

/** Accepts bare NaN and Infinity, as written by Python, as strings. */
export function parseLoosely(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    const strict = text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (found) =>
      found.startsWith('"') ? found : `"${found}"`,
    );
    return parseJson(strict);
  }
}

/** Parses `{"columns": […], "data": [[…]]}`. Throws if it is not a table. */
export function tableOf(text: string): TableData {
  const found = parseLoosely(text);
  if (!isFields(found) || !Array.isArray(found.columns) || !Array.isArray(found.data)) {
    throw new Error("This file does not contain a table.");
  }
  return { columns: found.columns.map(String), rows: found.data.filter(Array.isArray) };
}

/** Rows sort by number, then text; empty cells come last. */
const isNumber = (value: unknown): value is number | bigint =>
  typeof value === "number" || typeof value === "bigint";

export function sortedRows(
  { rows }: TableData,
  column: number,
  isDescending: boolean,
): (readonly unknown[])[] {
  const order = new Intl.Collator("en", { numeric: true });
  const rank = (value: unknown) =>
    value === null || value === undefined ? 2 : isNumber(value) ? 0 : 1;
  const sign = isDescending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [left, right] = [a[column], b[column]];
    const byRank = rank(left) - rank(right);
    if (byRank !== 0) return rank(left) === 2 || rank(right) === 2 ? byRank : sign * byRank;
    if (isNumber(left) && isNumber(right)) return sign * (left < right ? -1 : left > right ? 1 : 0);
    return sign * order.compare(String(left), String(right));
  });
}

/** All steps of several runs in ascending order. */
export function unionOfSteps(runs: readonly { steps: readonly number[] }[]): number[] {
  return [...new Set(runs.flatMap(({ steps }) => steps))].sort((a, b) => a - b);
}

export interface Box {
  /** Fractions of the image, 0 … 1. */
  left: number;
  top: number;
  width: number;
  height: number;
  label: string;
  classId: number;
}

/** The boxes of a `boxes2D` file. `width`, `height`: of the image, for boxes in pixels. */
export function boxesOf(text: string, width: number, height: number): Box[] {
  const found = parseLoosely(text);
  const data = isFields(found) ? listOf(found.box_data) : [];
  return data.filter(isFields).flatMap((box) => {
    const place = isFields(box.position) ? box.position : {};
    const [across, down] = box.domain === "pixel" ? [width || 1, height || 1] : [1, 1];
    const number = (name: string) => Number(place[name]);
    const middle = listOf(place.middle).map(Number);
    const left = middle.length === 2 ? middle[0] - number("width") / 2 : number("minX");
    const top = middle.length === 2 ? middle[1] - number("height") / 2 : number("minY");
    const right = middle.length === 2 ? left + number("width") : number("maxX");
    const bottom = middle.length === 2 ? top + number("height") : number("maxY");
    const sizes = [left / across, top / down, (right - left) / across, (bottom - top) / down];
    if (!sizes.every(Number.isFinite)) return [];
    return [
      {
        left: sizes[0],
        top: sizes[1],
        width: sizes[2],
        height: sizes[3],
        label: textOf(box.box_caption),
        classId: Number(box.class_id) || 0,
      },
    ];
  });
}
