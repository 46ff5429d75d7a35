/** What a panel is, and what a kind of panel declares. */

import type { ReactNode, RefObject } from "react";
import type { LoggedKey } from "./logged";

export interface Panel<Options = unknown> {
  /** Unique on a page. */
  id: string;
  /** The name of its kind. */
  kind: string;
  /** The logged keys that it shows. The first is its title, and its name in links. */
  keys: readonly [string, ...string[]];
  /** Made by its kind, for its kind. */
  options: Options;
}

export interface PanelProps<Options = unknown> {
  panel: Panel<Options>;
  isFull: boolean;
}

export interface BodyProps<Options = unknown> extends PanelProps<Options> {
  /** A place in the head where the body may write a value. */
  value: RefObject<HTMLSpanElement | null>;
}

/** Metrics, media values of these kinds, or media that no other kind of panel shows. */
export type Shows = "metrics" | readonly string[] | "other media";

/** Its components are methods, so that kinds with different options fit into one list. */
export interface PanelKind<Options = unknown> {
  /** Unique. */
  name: string;
  /** CSS pixels, unless in full screen. */
  height: number;
  /** Number of panels per row of a list that is wide enough for `charts` charts. */
  columns(charts: number): number;
  shows: Shows;
  optionsOf(logged: LoggedKey): Options;
  /** All below the head. */
  Body(props: BodyProps<Options>): ReactNode;
  /** Buttons in the head, beside those that all panels have. */
  Actions?(props: PanelProps<Options>): ReactNode;
  /** Settings in the head, before the buttons. */
  Controls?(props: PanelProps<Options>): ReactNode;
}
