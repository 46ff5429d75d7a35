/** The options of charts, apart from the requests, so that the first page loads without them. */

export const X_AXES = ["step", "relative", "time"] as const;
export type XAxis = (typeof X_AXES)[number];

/** How the ranks of a run are drawn: combined, as their mean with a band, or one curve each. */
export const RANKS = ["together", "mean", "each"] as const;
export type Ranks = (typeof RANKS)[number];

/** The band of a group: one standard deviation, or minimum to maximum. */
export const BANDS = ["std", "range"] as const;
export type Band = (typeof BANDS)[number];

/** How curves are made of series. */
export interface ChartOptions {
  x: XAxis;
  ranks: Ranks;
  isGrouped: boolean;
}
