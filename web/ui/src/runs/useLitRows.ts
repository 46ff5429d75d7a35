/** Marks the rows of the member that the pointer is at in a chart, at the pointer's pace. */

import { type RefObject, useEffect } from "react";
import { hover } from "../state/hover";

export function useLitRows(root: RefObject<HTMLElement | null>): void {
  useEffect(() => {
    let lit: string | null = null;
    return hover.subscribe(() => {
      const { member } = hover.get();
      if (member === lit) return;
      lit = member;
      for (const row of root.current?.querySelectorAll(".is-lit") ?? [])
        row.classList.remove("is-lit");
      if (member === null) return;
      const rows = root.current?.querySelectorAll(`[data-member="${CSS.escape(member)}"]`) ?? [];
      for (const row of rows) row.classList.add("is-lit");
    });
  }, [root]);
}
