/** Histograms over steps as a heat map; pure except for the canvas. */

import type { Histogram } from "./values";

export interface Column {
  step: number;
  histogram: Histogram;
}

export interface Bounds {
  low: number;
  high: number;
}

/** The range of all columns. */
export function boundsOf(columns: readonly Column[]): Bounds {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const { histogram } of columns) {
    low = Math.min(low, histogram.edges[0]);
    high = Math.max(high, histogram.edges[histogram.edges.length - 1]);
  }
  if (!(low < high)) return { low: low - 0.5, high: high + 0.5 };
  return { low, high };
}

/** Density of each bin, so that bins of different widths are comparable. */
export function densities({ counts, edges }: Histogram): number[] {
  const total = counts.reduce((sum, count) => sum + count, 0) || 1;
  return counts.map((count, at) => count / total / (edges[at + 1] - edges[at] || 1));
}

/** The column at a fraction of the width, 0 … 1. */
export function columnAt(columns: readonly Column[], share: number): number {
  const at = Math.floor(share * columns.length);
  return Math.max(0, Math.min(columns.length - 1, at));
}

/** Draws columns of equal width side by side. */
export function paintHeat(
  context: CanvasRenderingContext2D,
  columns: readonly Column[],
  { low, high }: Bounds,
  colour: string,
  width: number,
  height: number,
): void {
  const down = (value: number) => height - ((value - low) / (high - low)) * height;
  context.clearRect(0, 0, width, height);
  context.fillStyle = colour;
  columns.forEach(({ histogram }, at) => {
    const left = Math.round((at / columns.length) * width);
    const right = Math.round(((at + 1) / columns.length) * width);
    const density = densities(histogram);
    const most = Math.max(...density) || 1;
    density.forEach((each, bin) => {
      if (each <= 0) return;
      const top = down(histogram.edges[bin + 1]);
      const bottom = down(histogram.edges[bin]);
      context.globalAlpha = 0.08 + 0.92 * Math.sqrt(each / most);
      context.fillRect(left, Math.floor(top), right - left, Math.max(1, Math.ceil(bottom - top)));
    });
  });
  context.globalAlpha = 1;
}
