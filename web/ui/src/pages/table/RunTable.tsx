/**
 * All runs of the query as a table. Only visible rows are rendered; while scrolling, rows are fetched in
 * pages, with just the fields of config and summary that the columns show.
 */

import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef } from "react";
import { usePage } from "../../state/page";
import type { Column } from "../../state/url";
import { PHONE, useMedia } from "../../state/useMedia";
import { useNow } from "../../state/useNow";
import { useIsShown, useRunWindow } from "../../state/useRuns";
import { routes, useView } from "../../state/view";
import { FilterBox } from "../../widgets/FilterBox";
import { Link } from "../../widgets/Link";
import { Loading } from "../../widgets/Loading";
import { Problem } from "../../widgets/Problem";
import { Mark } from "../../widgets/Wordmark";
import { DrawnMenu, GroupMenu, RunSearch } from "../runs/RunsHead";
import { CornerButtons } from "../shared/CornerButtons";
import { ProjectMenu } from "../shared/ProjectMenu";
import { CompareLink, LayoutSegments } from "../shared/Toolbar";
import { useKeys } from "../shared/useKeys";
import { ColumnMenu } from "./ColumnMenu";
import { defaultColumns, fieldsOf, NAME_WIDTH, PHONE_NAME_WIDTH, place } from "./columns";
import { TableHead } from "./TableHead";
import { TableRow } from "./TableRow";

const ROW_PX = 32;
const HEAD_PX = 34;
const NO_KEYS: readonly string[] = [];

export default function RunTable() {
  const { project, query } = usePage();
  const chosen = useView((shown) => shown.columns);
  const columns = useMemo(() => chosen ?? defaultColumns(query.fields), [chosen, query.fields]);
  useKeys(NO_KEYS);
  return (
    <main className="table-page">
      <h1 className="unseen">Runs in {project.project}</h1>
      <header className="toolbar table-toolbar">
        <Link to={routes.list()} aria-label="All projects" title="All projects">
          <Mark />
        </Link>
        <ProjectMenu current={project} />
        <LayoutSegments />
        <span className="toolbar-space" />
        <CornerButtons />
      </header>
      <div className="table-bar">
        <RunSearch />
        <FilterBox fields={query.fields} />
        <DrawnMenu />
        <span className="toolbar-space" />
        <GroupMenu />
        <ColumnMenu columns={columns} />
        <CompareLink />
      </div>
      <Table columns={columns} />
    </main>
  );
}

function Table({ columns }: { columns: readonly Column[] }) {
  const { project, query, total, colours, seriesOf } = usePage();
  const scroller = useRef<HTMLDivElement>(null);
  const isShown = useIsShown();
  const now = useNow(10_000);
  const rows = useVirtualizer({
    count: total ?? 0,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    scrollPaddingStart: HEAD_PX,
    overscan: 16,
  });
  const inView = rows.getVirtualItems();
  const [first, last] = [inView.at(0)?.index ?? 0, inView.at(-1)?.index ?? 0];
  const fields = useMemo(() => fieldsOf(columns), [columns]);
  const { at, error, retry } = useRunWindow(project, query, fields, first, last);
  const nameWidth = useMedia(PHONE) ? PHONE_NAME_WIDTH : NAME_WIDTH;
  const placed = useMemo(
    () => place(columns, nameWidth, query.fields),
    [columns, nameWidth, query.fields],
  );
  if (error && !at(0)) return <Problem error={error} onRetry={retry} />;
  if (total === null) return <Loading />;
  const width = nameWidth + placed.reduce((sum, { px }) => sum + px, 0);
  return (
    <div ref={scroller} className="table-scroll">
      <div
        role="table"
        aria-label="Runs"
        aria-rowcount={total + 1}
        aria-colcount={placed.length + 1}
        className="table"
        style={{ width, height: HEAD_PX + rows.getTotalSize() }}
      >
        <TableHead columns={columns} placed={placed} nameWidth={nameWidth} />
        {inView.map(({ index, start }) => {
          const run = at(index);
          const seriesId = run ? seriesOf.get(run.run) : undefined;
          return (
            <TableRow
              key={run?.run ?? `at ${index}`}
              run={run}
              index={index}
              top={HEAD_PX + start}
              columns={placed}
              nameWidth={nameWidth}
              colour={seriesId === undefined ? undefined : colours.get(seriesId)}
              isShown={run !== undefined && isShown(run.run, index)}
              now={now}
            />
          );
        })}
      </div>
      {total === 0 && <p className="table-none">No matches.</p>}
    </div>
  );
}
