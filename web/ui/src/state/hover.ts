/**
 * What the pointer is at, over all panels and the run list. Changed at the pointer's pace, so charts
 * watch it and repaint their overlays without a React render.
 */

import type { Reading } from "../charts/readout";
import { createStore } from "./store";

export interface Hover {
  /** Key of the panel under the pointer. */
  panel: string | null;
  /** Where on the x axis. */
  x: number | null;
  /** The highlighted series: the one nearest to the pointer, or the one pointed at in the list. */
  seriesId: string | null;
  /** What the curves of that panel say there, highest first. */
  readings: readonly Reading[];
  /** Pointer, in the window's CSS pixels. */
  left: number;
  top: number;
}

export const NOTHING: Hover = {
  panel: null,
  x: null,
  seriesId: null,
  readings: [],
  left: 0,
  top: 0,
};

export const hover = createStore<Hover>(NOTHING);

/** Points at a run or group from outside of the charts; null: no longer. */
export function pointAt(seriesId: string | null): void {
  hover.set({ ...NOTHING, seriesId });
}
