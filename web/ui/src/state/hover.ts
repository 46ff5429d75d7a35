/**
 * What the pointer points at, across all panels and the run list. It changes with every pointer move,
 * so charts subscribe to it and repaint their overlays without a React render.
 */

import type { Reading } from "../charts/readout";
import { createStore } from "./store";

export interface Hover {
  /** Key of the panel under the pointer. */
  panel: string | null;
  /** Position on the x axis. */
  x: number | null;
  /** The highlighted series: the one nearest to the pointer, or under it in the list. */
  seriesId: string | null;
  /** Values of the curves in that panel at `x`, highest first. */
  readings: readonly Reading[];
  /** Pointer position in the window, in CSS pixels. */
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

/** Highlights a run or group from outside the charts; null: none. */
export function pointAt(seriesId: string | null): void {
  hover.set({ ...NOTHING, seriesId });
}
