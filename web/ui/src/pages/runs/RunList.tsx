/** The runs of the query, which are also the legend of the charts. Only visible rows are rendered. */

import { useVirtualizer } from "@tanstack/react-virtual";
import { useRef } from "react";
import { pointAt } from "../../state/hover";
import { usePage } from "../../state/page";
import { useNow } from "../../state/useNow";
import { useIsShown, useRunWindow } from "../../state/useRuns";
import { FilterBox } from "../../widgets/FilterBox";
import { Problem } from "../../widgets/Problem";
import { GroupList } from "./GroupList";
import { RunRow } from "./RunRow";
import { RunSearch, RunsBar } from "./RunsHead";
import { useHighlightedRows } from "./useHighlightedRows";

const ROW_PX = 30;
const NO_FIELDS: readonly string[] = [];

export function RunList() {
  const { query, series, chartOptions, names, colours } = usePage();
  return (
    <section className="runs" aria-label="Runs">
      <div className="runs-head">
        <RunSearch />
        <FilterBox fields={query.fields} isNarrow />
        <RunsBar />
      </div>
      {chartOptions.isGrouped && <GroupList series={series} names={names} colours={colours} />}
      <Rows />
    </section>
  );
}

function Rows() {
  const { project, query, colours, seriesOf, total } = usePage();
  const isShown = useIsShown();
  const scroller = useRef<HTMLDivElement>(null);
  const now = useNow(10_000);
  useHighlightedRows(scroller);
  const rows = useVirtualizer({
    count: total ?? 0,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: 12,
  });
  const inView = rows.getVirtualItems();
  const [first, last] = [inView.at(0)?.index ?? 0, inView.at(-1)?.index ?? 0];
  const { at, error, retry } = useRunWindow(project, query, NO_FIELDS, first, last);
  if (error && !at(0)) return <Problem error={error} onRetry={retry} />;
  return (
    <div ref={scroller} className="runs-scroll">
      {total === 0 && <p className="runs-none">No matches.</p>}
      <ul onMouseLeave={() => pointAt(null)} style={{ height: rows.getTotalSize() }}>
        {inView.map(({ index, start }) => {
          const run = at(index);
          if (!run) return null;
          const seriesId = seriesOf.get(run.run) ?? null;
          return (
            <RunRow
              key={run.run}
              run={run}
              seriesId={seriesId}
              colour={seriesId === null ? undefined : colours.get(seriesId)}
              isShown={isShown(run.run, index)}
              now={now}
              top={start}
            />
          );
        })}
      </ul>
    </div>
  );
}
