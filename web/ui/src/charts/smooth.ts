/**
 * Smoothing with an exponential moving average. It is debiased, so that it starts at the curve and not
 * at zero, and weighted by the distance between points, so that uneven steps are smoothed evenly and
 * zooming does not change the shape. Pure.
 */

import type { Curve } from "../api/types";

/** The weight applies to points 1/UNITS_PER_CURVE of the curve's length apart. */
const UNITS_PER_CURVE = 1_000;
const known = new WeakMap<Curve, { weight: number; line: Float64Array }>();

/** The smoothed means of a curve; NaN where it has no value. Caches the last result per curve. */
export function smoothed(curve: Curve, weight: number): Float64Array {
  const held = known.get(curve);
  if (held?.weight === weight) return held.line;
  const line = average(curve.x, curve.mean, weight);
  known.set(curve, { weight, line });
  return line;
}

function average(x: Float64Array, y: Float64Array, smoothing: number): Float64Array {
  const weight = Math.sqrt(smoothing);
  const length = x.length > 1 ? x[x.length - 1] - x[0] : 0;
  const scale = length > 0 ? UNITS_PER_CURVE / length : 0;
  const line = new Float64Array(y.length);
  let sum = 0;
  let weights = 0;
  let before = Number.NaN;
  for (let i = 0; i < y.length; i++) {
    if (Number.isNaN(y[i])) {
      line[i] = Number.NaN;
      continue;
    }
    const kept = Number.isNaN(before) ? 0 : weight ** Math.max((x[i] - before) * scale, 0);
    sum = sum * kept + y[i];
    weights = weights * kept + 1;
    before = x[i];
    line[i] = sum / weights;
  }
  return line;
}
