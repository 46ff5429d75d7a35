/** The runs, which are the charts' legend too. Only rows in view exist. */

import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef } from "react";
import { usePage } from "../app/page";
import { SearchBox } from "../app/SearchBox";
import { useNow } from "../app/useNow";
import { hover, pointAtRun } from "../state/hover";
import { isShown, withRuns } from "../state/url";
import { useView, view } from "../state/view";
import { RunRow } from "./RunRow";

const ROW_PX = 30;

export function RunList() {
  const { runs, listed } = usePage();
  const search = useView((shown) => shown.runSearch);
  if (runs.length === 0) return null;
  return (
    <section className="runs" aria-label="Runs">
      <div className="runs-head">
        <SearchBox
          name="runs"
          label="Search runs"
          placeholder="Search runs, e.g. lr=0.01"
          shortcut="r"
          value={search}
          onChange={view.searchRuns}
        />
        <SelectionBar />
      </div>
      {listed.length > 0 ? (
        <Rows />
      ) : (
        <p className="runs-none">
          No run matches.{" "}
          <button type="button" className="link" onClick={() => view.searchRuns("")}>
            Clear
          </button>
        </p>
      )}
    </section>
  );
}

function SelectionBar() {
  const { runs, listed } = usePage();
  const selection = useView((shown) => shown.selection);
  const shown = useMemo(
    () => listed.filter(({ run }) => isShown(selection, run)).length,
    [listed, selection],
  );
  const set = (isOn: boolean) =>
    view.select(
      withRuns(
        selection,
        listed.map(({ run }) => run),
        isOn,
        listed.length === runs.length,
      ),
    );
  return (
    <div className="runs-bar">
      <span className="runs-count">
        <strong>{shown}</strong> of {listed.length} shown
      </span>
      <button type="button" className="link" onClick={() => set(true)}>
        All
      </button>
      <button type="button" className="link" onClick={() => set(false)}>
        None
      </button>
    </div>
  );
}

function Rows() {
  const { listed, colours } = usePage();
  const selection = useView((shown) => shown.selection);
  const scroller = useRef<HTMLDivElement>(null);
  const now = useNow(10_000);
  useLitRow(scroller);
  const rows = useVirtualizer({
    count: listed.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    getItemKey: (index) => listed[index].run,
    overscan: 12,
  });
  return (
    <div ref={scroller} className="runs-scroll">
      <ul onMouseLeave={() => pointAtRun(null)} style={{ height: rows.getTotalSize() }}>
        {rows.getVirtualItems().map(({ index, key, start }) => (
          <RunRow
            key={key}
            run={listed[index]}
            colour={colours.get(listed[index].run) ?? ""}
            isShown={isShown(selection, listed[index].run)}
            now={now}
            top={start}
          />
        ))}
      </ul>
    </div>
  );
}

/** Marks the row of the run that the pointer is at in a chart, at the pointer's pace. */
function useLitRow(scroller: React.RefObject<HTMLElement | null>): void {
  useEffect(() => {
    let lit: string | null = null;
    return hover.subscribe(() => {
      const { run } = hover.get();
      if (run === lit) return;
      lit = run;
      const root = scroller.current;
      root?.querySelector(".run.is-lit")?.classList.remove("is-lit");
      if (run) root?.querySelector(`[data-run="${CSS.escape(run)}"]`)?.classList.add("is-lit");
    });
  }, [scroller]);
}
