/** Curves for tests. */

import type { Curve } from "../src/api/types";

/** Buckets of one point each, or of `width` steps that end at `x`. */
export function curveOf(id: string, x: number[], y: number[], width = 1): Curve {
  const floats = (values: number[]) => Float64Array.from(values);
  return {
    id,
    rank: null,
    width,
    x: floats(x),
    firstX: floats(x.map((step) => step - width + 1)),
    step: floats(x),
    firstStep: floats(x.map((step) => step - width + 1)),
    min: floats(y),
    max: floats(y),
    mean: floats(y),
    std: null,
    nonFinite: floats(y.map(() => 0)),
  };
}

export const tick = () => new Promise((resolve) => setTimeout(resolve));
