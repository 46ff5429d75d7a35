/** Lookups in curves: the index at x, the extent of a range, a zoomed part joined with the whole; pure. */

import type { Curve, CurveColumns, Range } from "../api/types";
import { CURVE_COLUMNS } from "../api/types";

/** The first index whose x is ≥ `x` (length if none). */
export function lowerBound(xs: Float64Array, x: number): number {
  let low = 0;
  let high = xs.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (xs[mid] < x) low = mid + 1;
    else high = mid;
  }
  return low;
}

/** The first index whose x is > `x` (length if none). */
function upperBound(xs: Float64Array, x: number): number {
  const at = lowerBound(xs, x);
  return xs[at] === x ? at + 1 : at;
}

/** The index nearest to `x`, or -1 if the curve ends (or starts) more than `slack` away. */
export function indexNear(xs: Float64Array, x: number, slack: number): number {
  const at = lowerBound(xs, x);
  if (at === xs.length) return xs.length > 0 && x - xs[at - 1] <= slack ? at - 1 : -1;
  if (at === 0) return xs[0] - x <= slack ? 0 : -1;
  return x - xs[at - 1] <= xs[at] - x ? at - 1 : at;
}

type Column = keyof CurveColumns | "firstX";

const COLUMNS = ["firstX", ...Object.keys(CURVE_COLUMNS)] as Column[];

/** Applies `of` to every column. */
function mapColumns(curve: Curve, of: (values: Float64Array, name: Column) => Float64Array): Curve {
  const mapped = COLUMNS.map((name) => [name, of(curve[name], name)]);
  return { ...curve, ...(Object.fromEntries(mapped) as Pick<Curve, Column>) };
}

function cut(curve: Curve, from: number, to: number): Curve {
  const part = mapColumns(curve, (values) => values.subarray(from, to));
  return { ...part, std: curve.std?.subarray(from, to) ?? null };
}

function concat(parts: readonly Float64Array[]): Float64Array {
  const joined = new Float64Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function join(parts: readonly Curve[]): Curve {
  const joined = mapColumns(parts[0], (_, name) => concat(parts.map((part) => part[name])));
  const std = parts.map((part) => part.std);
  return { ...joined, std: std.every((one) => one !== null) ? concat(std) : null };
}

/**
 * Replaces `range` in `whole` by `detail` (finer buckets). Buckets of `whole` are kept only if entirely
 * outside `range`, so that lines reach the edges of a zoomed panel and no point counts twice.
 */
export function splice(whole: Curve | null, detail: Curve | null, range: Range): Curve | null {
  if (whole === null) return detail;
  const before = cut(whole, 0, lowerBound(whole.x, range.from));
  const after = cut(whole, upperBound(whole.firstX, range.to), whole.x.length);
  const inside = detail ?? cut(whole, 0, 0);
  return { ...join([before, inside, after]), width: detail?.width ?? whole.width };
}

/** First and last x over all curves; null without points. */
export function span(curves: Iterable<Curve>): Range | null {
  let from = Number.POSITIVE_INFINITY;
  let to = Number.NEGATIVE_INFINITY;
  for (const { x } of curves) {
    if (x.length === 0) continue;
    from = Math.min(from, x[0]);
    to = Math.max(to, x[x.length - 1]);
  }
  return from <= to ? { from, to } : null;
}

/**
 * The span of curves whose buckets are too coarse, otherwise null. A request for several keys gets one
 * bucket width, chosen for the longest; a key that was logged only briefly needs a request of its own.
 */
export function coarseSpan(curves: readonly Curve[], buckets: number): Range | null {
  const whole = span(curves);
  const width = Math.max(0, ...curves.map((curve) => curve.width));
  if (whole === null || width <= 1) return null;
  const from = Math.min(...curves.map(({ firstX }) => firstX[0] ?? whole.from));
  return (whole.to - from) / width < buckets / 4 ? { from, to: whole.to } : null;
}

export interface Extent {
  low: number;
  high: number;
}

/** Lowest `min` and highest `max` within `range`; only positive values where `positive` (log axes). */
export function extent(curves: Iterable<Curve>, range: Range, positive: boolean): Extent | null {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const { x, min, max, mean } of curves) {
    const end = lowerBound(x, range.to + 1e-9);
    for (let i = lowerBound(x, range.from); i < end; i++) {
      const bottom = positive && min[i] <= 0 ? mean[i] : min[i];
      if ((!positive || bottom > 0) && bottom < low) low = bottom;
      if ((!positive || max[i] > 0) && max[i] > high) high = max[i];
    }
  }
  if (low > high && Number.isFinite(high)) low = high;
  return low <= high ? { low, high } : null;
}

/** Values outside of these quantiles count as outliers. */
const QUANTILES = [0.05, 0.95] as const;

/** The extent of the means within `range`, without outliers. */
export function extentWithoutOutliers(
  curves: Iterable<Curve>,
  range: Range,
  positive: boolean,
): Extent | null {
  const values: number[] = [];
  for (const { x, mean } of curves) {
    const end = lowerBound(x, range.to + 1e-9);
    for (let i = lowerBound(x, range.from); i < end; i++) {
      if (positive ? mean[i] > 0 : !Number.isNaN(mean[i])) values.push(mean[i]);
    }
  }
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const [low, high] = QUANTILES.map((part) => sorted[Math.round(part * (sorted.length - 1))]);
  return { low, high };
}
