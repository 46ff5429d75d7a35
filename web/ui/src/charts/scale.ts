/** Values to pixels, and the ranges of the axes. */

import type { XAxis } from "../api/chartOptions";
import type { Range } from "../api/types";
import type { Extent } from "./curve";

/** Maps a plot's values to its canvas, in device pixels. */
export interface Frame {
  x: Range;
  y: Extent;
  log: boolean;
  width: number;
  height: number;
  /** Device pixels per CSS pixel. */
  ratio: number;
}

export type Project = (value: number) => number;

export function projectX({ x, width }: Frame): Project {
  const factor = width / (x.to - x.from);
  return (value) => (value - x.from) * factor;
}

/** Clamped just outside the plot: canvases cannot handle huge coordinates. */
export function projectY({ y, log, height }: Frame): Project {
  const low = log ? Math.log10(y.low) : y.low;
  const high = log ? Math.log10(y.high) : y.high;
  const factor = height / (high - low);
  const clamp = (at: number) => Math.max(-height, Math.min(2 * height, at));
  if (!log) return (value) => clamp(height - (value - low) * factor);
  return (value) => (value > 0 ? clamp(height - (Math.log10(value) - low) * factor) : 2 * height);
}

/** The y axis around the data: 6 % padding, never zero height. */
export function padded({ low, high }: Extent, log: boolean): Extent {
  if (log) {
    const bottom = Math.log10(low);
    const top = Math.log10(high);
    const padding = top > bottom ? (top - bottom) * 0.06 : 0.5;
    return { low: 10 ** (bottom - padding), high: 10 ** (top + padding) };
  }
  const padding = high > low ? (high - low) * 0.06 : Math.abs(high) * 0.1 || 1;
  return { low: low - padding, high: high + padding };
}

/**
 * The x range of a panel: the one of the page if its curves span most of it, so that crosshairs of
 * neighbouring panels align; otherwise its own.
 */
export function domain(own: Range | null, page: Range | null): Range {
  const chosen =
    own && page && own.to - own.from >= 0.6 * (page.to - page.from)
      ? { from: Math.min(own.from, page.from), to: Math.max(own.to, page.to) }
      : (own ?? page ?? { from: 0, to: 1 });
  if (chosen.to > chosen.from) return chosen;
  return { from: Math.max(0, chosen.from - 1), to: chosen.to + 1 };
}

/** The range of a zoom: at least two whole steps, or seconds rounded to milliseconds. */
export function zoomOf(axis: XAxis, from: number, to: number): Range {
  const low = Math.max(0, Math.min(from, to));
  const high = Math.max(from, to);
  if (axis === "step") {
    const first = Math.floor(low);
    return { from: first, to: Math.max(first + 1, Math.ceil(high)) };
  }
  const first = Math.floor(low * 1000) / 1000;
  return { from: first, to: Math.max(first + 0.001, Math.ceil(high * 1000) / 1000) };
}

/**
 * Widens a range of steps to whole buckets of the width that the server will choose. Otherwise the
 * server would have to read the points of the buckets at the edges.
 */
export function wholeBuckets({ from, to }: Range, buckets: number): Range {
  let width = 1;
  while (Math.floor(to / width) - Math.floor(from / width) >= buckets) width *= 2;
  return { from: Math.floor(from / width) * width, to: (Math.floor(to / width) + 1) * width - 1 };
}

/** At most one bucket per two device pixels, in steps of 50, so that panels in a grid can share requests. */
export function bucketsFor(widthPx: number, ratio: number): number {
  return Math.max(50, Math.min(10_000, Math.floor((widthPx * ratio) / 2 / 50) * 50));
}
