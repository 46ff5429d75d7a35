/**
 * Draws curves on a canvas: a translucent band from min to max with a hairline around it, so that a
 * single outlier among millions of points is visible at any zoom, also when smoothed or grouped; the
 * mean as a line; marks for NaN and Inf at the bottom edge.
 */

import type { Band } from "../api/chartOptions";
import type { Curve } from "../api/types";
import { lowerBound } from "./curve";
import { type Frame, type Project, projectX, projectY } from "./scale";
import { smoothed } from "./smooth";

export interface Stroke {
  colour: string;
  lineWidth: number;
  bandAlpha: number;
  edgeAlpha: number;
  /** Opacity of the original curve behind its smoothed line. */
  rawAlpha: number;
}

/** Up to this many bands overlap with transparency; more would blur, see `paintCrowd`. */
const FEW = 4;
const CROWD_ALPHA = 0.16;
/** Opacity of the original curve behind the smoothed one. */
const RAW_ALPHA = 0.3;

/** The more runs in the panel, the fainter and thinner. */
export function strokeFor(colour: string, runs: number): Stroke {
  return {
    colour,
    lineWidth: runs > 60 ? 1 : runs > 12 ? 1.25 : 1.5,
    bandAlpha: runs > FEW ? CROWD_ALPHA : 0.18,
    edgeAlpha: runs > 60 ? 0 : 0.5 / (1 + (runs - 1) / 6),
    rawAlpha: runs > 60 ? 0.1 : RAW_ALPHA,
  };
}

export const HIGHLIGHT: Omit<Stroke, "colour"> = {
  lineWidth: 2.25,
  bandAlpha: 0.24,
  edgeAlpha: 0.7,
  rawAlpha: 0.5,
};

/** Smoothing and band of the curves. */
export interface CurveStyle {
  /** 0: not at all. */
  smoothing: number;
  band: Band;
}

interface Part {
  curve: Curve;
  /** Values of the line: the means, smoothed or not. */
  line: Float64Array;
  /** The band is one standard deviation around the mean; hairlines mark the extremes. */
  isStd: boolean;
  /** Includes one bucket beyond either edge, so that lines leave the panel. */
  from: number;
  to: number;
  px: Project;
  py: Project;
}

export function lineOf(curve: Curve, { smoothing }: CurveStyle): Float64Array {
  return smoothing > 0 ? smoothed(curve, smoothing) : curve.mean;
}

function visible(curve: Curve, frame: Frame, style: CurveStyle): Part {
  return {
    curve,
    line: lineOf(curve, style),
    isStd: style.band === "std" && curve.std !== null,
    from: Math.max(0, lowerBound(curve.x, frame.x.from) - 1),
    to: Math.min(curve.x.length, lowerBound(curve.x, frame.x.to) + 1),
    px: projectX(frame),
    py: projectY(frame),
  };
}

/** Calls `draw(start, end)` for each contiguous stretch of buckets with finite values. */
function stretches({ curve, from, to }: Part, draw: (start: number, end: number) => void): void {
  const { mean } = curve;
  let start = -1;
  for (let i = from; i <= to; i++) {
    const isValue = i < to && !Number.isNaN(mean[i]);
    if (isValue && start < 0) start = i;
    else if (!isValue && start >= 0) {
      draw(start, i);
      start = -1;
    }
  }
}

/** The mean of max - min; 0 if every bucket has one value. */
function bandHeight({ curve, from, to }: Part): number {
  let sum = 0;
  let count = 0;
  for (let i = from; i < to; i++) {
    const height = curve.max[i] - curve.min[i];
    if (Number.isNaN(height)) continue;
    sum += height;
    count += 1;
  }
  return count > 0 ? sum / count : 0;
}

function traceBetween(
  ctx: CanvasRenderingContext2D,
  part: Part,
  high: (i: number) => number,
  low: (i: number) => number,
): void {
  const { curve, px, py } = part;
  ctx.beginPath();
  stretches(part, (start, end) => {
    ctx.moveTo(px(curve.x[start]), py(high(start)));
    for (let i = start + 1; i < end; i++) ctx.lineTo(px(curve.x[i]), py(high(i)));
    for (let i = end - 1; i >= start; i--) ctx.lineTo(px(curve.x[i]), py(low(i)));
    ctx.closePath();
  });
}

/** The band covers all points, or one standard deviation; a single sample has none. */
function traceBand(ctx: CanvasRenderingContext2D, part: Part): void {
  const { mean, std, max, min } = part.curve;
  const isStd = part.isStd && std !== null;
  const half = (i: number) => (isStd && !Number.isNaN(std[i]) ? std[i] : 0);
  traceBetween(
    ctx,
    part,
    (i) => (isStd ? mean[i] + half(i) : max[i]),
    (i) => (isStd ? mean[i] - half(i) : min[i]),
  );
}

function paintBand(ctx: CanvasRenderingContext2D, part: Part, stroke: Stroke, ratio: number): void {
  traceBand(ctx, part);
  ctx.globalAlpha = stroke.bandAlpha;
  ctx.fill();
  paintEdges(ctx, part, stroke, ratio);
}

/** Hairlines along the highest and the lowest points. */
function paintEdges(
  ctx: CanvasRenderingContext2D,
  part: Part,
  stroke: Stroke,
  ratio: number,
): void {
  if (stroke.edgeAlpha === 0) return;
  ctx.globalAlpha = stroke.edgeAlpha;
  ctx.lineWidth = 0.75 * ratio;
  for (const edge of [part.curve.max, part.curve.min]) {
    traceLine(ctx, part, edge);
    ctx.stroke();
  }
}

let scratch: CanvasRenderingContext2D | null = null;

/** A cleared canvas of at least this size, shared by all panels. */
function scratchOf(width: number, height: number): CanvasRenderingContext2D | null {
  scratch ??= document.createElement("canvas").getContext("2d");
  if (!scratch) return null;
  const { canvas } = scratch;
  if (canvas.width < width) canvas.width = width;
  if (canvas.height < height) canvas.height = height;
  scratch.globalAlpha = 1;
  scratch.clearRect(0, 0, canvas.width, canvas.height);
  return scratch;
}

/**
 * Bands of many runs are drawn solid on a separate canvas, which is then laid over the panel once, so
 * that the tint does not depend on the number of overlapping bands.
 */
function paintCrowd(
  ctx: CanvasRenderingContext2D,
  frame: Frame,
  bands: readonly { part: Part; stroke: Stroke }[],
): void {
  const width = Math.ceil(frame.width);
  const height = Math.ceil(frame.height);
  const layer = scratchOf(width, height);
  if (!layer) return;
  for (const { part, stroke } of bands) {
    layer.fillStyle = stroke.colour;
    traceBand(layer, part);
    layer.fill();
    if (stroke.edgeAlpha === 0) continue;
    ctx.strokeStyle = stroke.colour;
    paintEdges(ctx, part, stroke, frame.ratio);
  }
  ctx.globalAlpha = CROWD_ALPHA;
  ctx.drawImage(layer.canvas, 0, 0, width, height, 0, 0, width, height);
}

/** A bucket this many times as high as the average bucket has an outlier. */
const SPIKE = 4;

/** Keeps outliers crisp however faint the bands are: a line from min to max. */
function paintSpikes(
  ctx: CanvasRenderingContext2D,
  part: Part,
  height: number,
  ratio: number,
): void {
  const { curve, px, py } = part;
  ctx.beginPath();
  for (let i = part.from; i < part.to; i++) {
    if (!(curve.max[i] - curve.min[i] > SPIKE * height)) continue;
    ctx.moveTo(px(curve.x[i]), py(curve.min[i]));
    ctx.lineTo(px(curve.x[i]), py(curve.max[i]));
  }
  ctx.globalAlpha = 0.8;
  ctx.lineWidth = ratio;
  ctx.stroke();
}

function traceLine(ctx: CanvasRenderingContext2D, part: Part, line: Float64Array): void {
  const { curve, px, py } = part;
  ctx.beginPath();
  stretches(part, (start, end) => {
    ctx.moveTo(px(curve.x[start]), py(line[start]));
    for (let i = start + 1; i < end; i++) ctx.lineTo(px(curve.x[i]), py(line[i]));
  });
}

function paintRaw(ctx: CanvasRenderingContext2D, part: Part, stroke: Stroke, frame: Frame): void {
  if (part.line === part.curve.mean || stroke.rawAlpha === 0) return;
  traceLine(ctx, part, part.curve.mean);
  ctx.globalAlpha = stroke.rawAlpha;
  ctx.lineWidth = frame.ratio;
  ctx.stroke();
}

function paintLine(ctx: CanvasRenderingContext2D, part: Part, stroke: Stroke, ratio: number): void {
  traceLine(ctx, part, part.line);
  ctx.globalAlpha = 1;
  ctx.lineWidth = stroke.lineWidth * ratio;
  ctx.stroke();
}

/** Buckets further apart than this on average get dots. */
const SPARSE_PX = 14;

/** Dots if buckets are far apart, and for single buckets, which have no line. */
function paintDots(ctx: CanvasRenderingContext2D, part: Part, stroke: Stroke, frame: Frame): void {
  const { curve, line, px, py } = part;
  const radius = (stroke.lineWidth + 0.75) * frame.ratio;
  const reach = px(curve.x[part.to - 1]) - px(curve.x[part.from]);
  const isSparse = reach > (part.to - part.from - 1) * SPARSE_PX * frame.ratio;
  ctx.beginPath();
  stretches(part, (start, end) => {
    if (!isSparse && end > start + 1) return;
    for (let i = start; i < end; i++) {
      const at = px(curve.x[i]);
      if (at < 0 || at > frame.width) continue;
      ctx.moveTo(at + radius, py(line[i]));
      ctx.arc(at, py(line[i]), radius, 0, 2 * Math.PI);
    }
  });
  ctx.globalAlpha = 1;
  ctx.fill();
}

function paintMarks(ctx: CanvasRenderingContext2D, part: Part, frame: Frame): void {
  const { curve, px } = part;
  const half = 3.5 * frame.ratio;
  const base = frame.height - 1;
  let lastAt = Number.NEGATIVE_INFINITY;
  ctx.beginPath();
  for (let i = part.from; i < part.to; i++) {
    if (!(curve.nonFinite[i] > 0)) continue;
    const at = px(curve.x[i]);
    if (at - lastAt < half || at < 0 || at > frame.width) continue;
    lastAt = at;
    ctx.moveTo(at - half, base);
    ctx.lineTo(at, base - 2 * half);
    ctx.lineTo(at + half, base);
  }
  ctx.globalAlpha = 0.9;
  ctx.fill();
}

/** Draws curves in order, all bands below all lines. */
export function paintCurves(
  ctx: CanvasRenderingContext2D,
  frame: Frame,
  curves: readonly Curve[],
  style: CurveStyle,
  strokeOf: (curve: Curve) => Stroke,
): void {
  const drawn = curves.map((curve) => {
    const part = visible(curve, frame, style);
    return { part, stroke: strokeOf(curve), height: bandHeight(part) };
  });
  const bands = drawn.filter(({ height }) => height > 0);
  const use = ({ colour }: Stroke) => {
    ctx.strokeStyle = colour;
    ctx.fillStyle = colour;
  };
  ctx.lineJoin = "round";
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, 0, frame.width, frame.height);
  ctx.clip();
  if (bands.length > FEW) paintCrowd(ctx, frame, bands);
  for (const { part, stroke, height } of bands) {
    use(stroke);
    if (bands.length <= FEW) paintBand(ctx, part, stroke, frame.ratio);
    paintSpikes(ctx, part, height, frame.ratio);
  }
  for (const { part, stroke } of drawn) {
    use(stroke);
    paintRaw(ctx, part, stroke, frame);
  }
  for (const { part, stroke } of drawn) {
    use(stroke);
    paintLine(ctx, part, stroke, frame.ratio);
  }
  ctx.restore();
  for (const { part, stroke } of drawn) {
    use(stroke);
    paintDots(ctx, part, stroke, frame);
    paintMarks(ctx, part, frame);
  }
  ctx.globalAlpha = 1;
}
