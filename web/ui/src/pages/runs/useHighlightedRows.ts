/** Marks the rows of the highlighted series, without a React render. */

import { type RefObject, useEffect } from "react";
import { hover } from "../../state/hover";

export function useHighlightedRows(root: RefObject<HTMLElement | null>): void {
  useEffect(() => {
    let highlighted: string | null = null;
    return hover.subscribe(() => {
      const { seriesId } = hover.get();
      if (seriesId === highlighted) return;
      highlighted = seriesId;
      for (const row of root.current?.querySelectorAll(".is-highlighted") ?? [])
        row.classList.remove("is-highlighted");
      if (seriesId === null) return;
      const rows = root.current?.querySelectorAll(`[data-series="${CSS.escape(seriesId)}"]`) ?? [];
      for (const row of rows) row.classList.add("is-highlighted");
    });
  }, [root]);
}
