/** Lays sections out in rows of panels; pure. */

import { groupBy } from "../../util/groupBy";
import type { PanelKinds } from "./kinds";
import type { LoggedKey } from "./logged";
import type { Panel } from "./panel";
import type { Section } from "./sections";

/** Of a section's head, in CSS pixels. */
const HEAD_PX = 40;
/** Below a row of panels, as between its columns. */
const GAP_PX = 12;

/** `height`: CSS pixels, with the gap below. */
export type Row =
  | { kind: "head"; id: string; height: number; section: Section; isOpen: boolean }
  | { kind: "panels"; id: string; height: number; panels: readonly Panel[]; columns: number };

interface Layout {
  kinds: PanelKinds;
  /** Number of charts per row. */
  columns: number;
  /** Ids of sections. */
  collapsed: ReadonlySet<string>;
  loggedKey(key: string): LoggedKey;
}

export function toRows(sections: readonly Section[], layout: Layout): Row[] {
  return sections.flatMap((section) => {
    const isOpen = !layout.collapsed.has(section.id);
    const head: Row = { kind: "head", id: `h ${section.id}`, height: HEAD_PX, section, isOpen };
    return isOpen ? [head, ...panelRows(section, layout)] : [head];
  });
}

/**
 * A row holds panels of one size, of whichever kind. Sizes come in the order of the kinds: charts first,
 * then media; a key with both appears in both.
 */
function panelRows(section: Section, { kinds, columns, loggedKey }: Layout): Row[] {
  const panels = section.keys.flatMap((key) => kinds.panelsOf(loggedKey(key)));
  const sizes = groupBy(kinds.all, (kind) => `${kind.height} ${kind.columns(columns)}`);
  return [...sizes.values()].flatMap((alike) => {
    const names = new Set(alike.map(({ name }) => name));
    const own = panels.filter(({ kind }) => names.has(kind));
    const [{ height, columns: columnsOf }] = alike;
    return inRows(own, columnsOf(columns)).map(
      (inRow): Row => ({
        kind: "panels",
        id: `p ${section.id} ${inRow[0].id}`,
        height: height + GAP_PX,
        panels: inRow,
        columns: columnsOf(columns),
      }),
    );
  });
}

function inRows(panels: readonly Panel[], columns: number): Panel[][] {
  const rows: Panel[][] = [];
  for (let at = 0; at < panels.length; at += columns) rows.push(panels.slice(at, at + columns));
  return rows;
}
