/** Values of the curves at one x: the rows of the tooltip, and the curve nearest to the pointer. */

import type { Curve } from "../api/types";
import { indexNear } from "./curve";
import { type CurveStyle, lineOf } from "./paint";
import { type Frame, projectX, projectY } from "./scale";

export interface Reading {
  /** Id of the series, and the rank if each rank has its own curve. */
  id: string;
  rank: number | null;
  x: number;
  step: number;
  /** First step of the bucket; differs from `step` if the bucket has several. */
  firstStep: number;
  mean: number;
  /** Value of the line: the mean, smoothed or not. */
  line: number;
  std: number | null;
  min: number;
  max: number;
  nonFinite: number;
}

/** The pointer may be this far beyond the end of a curve, in CSS pixels. */
const SLACK_PX = 12;
/** Curves further than this from the pointer are not highlighted. */
const REACH_PX = 48;

export function readAt(
  curves: readonly Curve[],
  frame: Frame,
  style: CurveStyle,
  x: number,
): Reading[] {
  const slack = ((frame.x.to - frame.x.from) / frame.width) * SLACK_PX * frame.ratio;
  const readings: Reading[] = [];
  for (const curve of curves) {
    const i = indexNear(curve.x, x, slack);
    if (i < 0) continue;
    readings.push({
      id: curve.id,
      rank: curve.rank,
      x: curve.x[i],
      step: curve.step[i],
      firstStep: curve.firstStep[i],
      mean: curve.mean[i],
      line: lineOf(curve, style)[i],
      std: curve.std?.[i] ?? null,
      min: curve.min[i],
      max: curve.max[i],
      nonFinite: curve.nonFinite[i],
    });
  }
  return readings.sort((a, b) => compareValues(a.line, b.line));
}

/** Highest first, NaN last. */
function compareValues(a: number, b: number): number {
  if (Number.isNaN(a)) return Number.isNaN(b) ? 0 : 1;
  return Number.isNaN(b) ? -1 : b - a;
}

/** The x of the nearest reading, to which the pointer snaps. */
export function snap(readings: readonly Reading[], x: number): number {
  let best = x;
  let distance = Number.POSITIVE_INFINITY;
  for (const reading of readings) {
    if (Math.abs(reading.x - x) < distance) {
      distance = Math.abs(reading.x - x);
      best = reading.x;
    }
  }
  return best;
}

/** The series whose line is nearest to the pointer on screen, interpolated between buckets. */
export function nearestSeries(
  curves: readonly Curve[],
  frame: Frame,
  style: CurveStyle,
  at: { left: number; top: number },
): string | null {
  const px = projectX(frame);
  const py = projectY(frame);
  const [left, top] = [at.left * frame.ratio, at.top * frame.ratio];
  const x = frame.x.from + (left / frame.width) * (frame.x.to - frame.x.from);
  let best: string | null = null;
  let distance = REACH_PX * frame.ratio;
  for (const curve of curves) {
    const i = indexNear(
      curve.x,
      x,
      (SLACK_PX / frame.width) * frame.ratio * (frame.x.to - frame.x.from),
    );
    if (i < 0) continue;
    // The line passes the pointer between this bucket and its neighbour on the pointer's side.
    const j = Math.max(0, Math.min(curve.x.length - 1, curve.x[i] < x ? i + 1 : i - 1));
    const gap = px(curve.x[j]) - px(curve.x[i]);
    const along = gap === 0 ? 0 : (left - px(curve.x[i])) / gap;
    const line = lineOf(curve, style);
    const here = py(line[i]);
    const there = py(line[j]);
    const passes = Number.isNaN(there) ? here : here + (there - here) * along;
    const off = Math.abs(passes - top);
    if (off < distance) {
      distance = off;
      best = curve.id;
    }
  }
  return best;
}
