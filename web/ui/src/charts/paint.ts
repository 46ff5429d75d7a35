/**
 * Draws curves on a canvas: a translucent band from min to max with a hairline around it, so that one
 * wild point among millions shows even where its bucket is a pixel wide; the mean as a line; marks
 * for NaN and Inf on the bottom edge.
 */

import type { Curve } from "../api/types";
import { lowerBound } from "./curve";
import { type Frame, type Project, projectX, projectY } from "./scale";

export interface Stroke {
  colour: string;
  lineWidth: number;
  bandAlpha: number;
  edgeAlpha: number;
}

/** Fainter and finer the more runs share the panel. */
export function strokeFor(colour: string, runs: number): Stroke {
  const crowd = Math.sqrt(Math.max(1, runs) / 3);
  return {
    colour,
    lineWidth: runs > 60 ? 1 : runs > 12 ? 1.25 : 1.5,
    bandAlpha: Math.max(0.05, Math.min(0.2, 0.2 / crowd)),
    edgeAlpha: Math.max(0.22, Math.min(0.5, 0.5 / crowd)),
  };
}

export const HIGHLIGHT: Omit<Stroke, "colour"> = {
  lineWidth: 2.25,
  bandAlpha: 0.24,
  edgeAlpha: 0.7,
};

interface Part {
  curve: Curve;
  /** One bucket beyond either edge, so that lines leave the panel. */
  from: number;
  to: number;
  px: Project;
  py: Project;
}

function visible(curve: Curve, frame: Frame): Part {
  return {
    curve,
    from: Math.max(0, lowerBound(curve.x, frame.x.from) - 1),
    to: Math.min(curve.x.length, lowerBound(curve.x, frame.x.to) + 1),
    px: projectX(frame),
    py: projectY(frame),
  };
}

/** Calls `draw(start, end)` for each stretch of buckets that hold finite values. */
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

function hasBand({ curve, from, to }: Part): boolean {
  for (let i = from; i < to; i++) if (curve.max[i] > curve.min[i]) return true;
  return false;
}

function paintBand(ctx: CanvasRenderingContext2D, part: Part, stroke: Stroke, ratio: number): void {
  const { curve, px, py } = part;
  ctx.beginPath();
  stretches(part, (start, end) => {
    ctx.moveTo(px(curve.x[start]), py(curve.max[start]));
    for (let i = start + 1; i < end; i++) ctx.lineTo(px(curve.x[i]), py(curve.max[i]));
    for (let i = end - 1; i >= start; i--) ctx.lineTo(px(curve.x[i]), py(curve.min[i]));
    ctx.closePath();
  });
  ctx.globalAlpha = stroke.bandAlpha;
  ctx.fill();
  ctx.globalAlpha = stroke.edgeAlpha;
  ctx.lineWidth = 0.75 * ratio;
  ctx.stroke();
}

function paintLine(ctx: CanvasRenderingContext2D, part: Part, stroke: Stroke, frame: Frame): void {
  const { curve, px, py } = part;
  const radius = (stroke.lineWidth + 0.75) * frame.ratio;
  const isSparse = (part.to - part.from) * 14 * frame.ratio < frame.width;
  const dots = new Path2D();
  const dot = (i: number) => {
    dots.moveTo(px(curve.x[i]) + radius, py(curve.mean[i]));
    dots.arc(px(curve.x[i]), py(curve.mean[i]), radius, 0, 2 * Math.PI);
  };
  ctx.beginPath();
  stretches(part, (start, end) => {
    ctx.moveTo(px(curve.x[start]), py(curve.mean[start]));
    for (let i = start + 1; i < end; i++) ctx.lineTo(px(curve.x[i]), py(curve.mean[i]));
    if (end === start + 1 || isSparse) for (let i = start; i < end; i++) dot(i);
  });
  ctx.globalAlpha = 1;
  ctx.lineWidth = stroke.lineWidth * frame.ratio;
  ctx.stroke();
  ctx.fill(dots);
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
    if (at - lastAt < half) continue;
    lastAt = at;
    ctx.moveTo(at - half, base);
    ctx.lineTo(at, base - 2 * half);
    ctx.lineTo(at + half, base);
  }
  ctx.globalAlpha = 0.9;
  ctx.fill();
}

/** Draws curves in order: all bands lie under all lines. */
export function paintCurves(
  ctx: CanvasRenderingContext2D,
  frame: Frame,
  curves: readonly Curve[],
  strokeOf: (curve: Curve) => Stroke,
): void {
  const parts = curves.map((curve) => visible(curve, frame));
  ctx.lineJoin = "round";
  const each = (paint: (part: Part, stroke: Stroke) => void) => {
    for (const part of parts) {
      const stroke = strokeOf(part.curve);
      ctx.strokeStyle = stroke.colour;
      ctx.fillStyle = stroke.colour;
      paint(part, stroke);
    }
  };
  each((part, stroke) => {
    if (hasBand(part)) paintBand(ctx, part, stroke, frame.ratio);
  });
  each((part, stroke) => paintLine(ctx, part, stroke, frame));
  each((part) => paintMarks(ctx, part, frame));
  ctx.globalAlpha = 1;
}
