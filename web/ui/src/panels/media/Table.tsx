/** A logged table of one run, of any length: sortable, with images in cells. */

import { useQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef, useState } from "react";
import { ApiError } from "../../api/http";
import { fileUrl, textQuery } from "../../api/media";
import { usePage } from "../../state/page";
import { formatAny, formatMeasured, formatStep } from "../../util/format";
import { ArrowIcon, DownloadIcon } from "../../widgets/icons";
import { type MediaProps, mediaKind } from "./mediaKind";
import { Picture } from "./Picture";
import { useRunStyle } from "./RunHead";
import { filesOf, isFields, type MediaFile, sortedRows, type TableData, tableOf } from "./values";

const ROW_PX = 30;
const PICTURE_ROW_PX = 62;

export const tableKind = mediaKind({
  name: "table",
  shows: ["table-file"],
  maxRuns: [50, 50],
  Content: Table,
});

function Table({ media }: MediaProps) {
  const styleOf = useRunStyle();
  const tables = useMemo(
    () =>
      media.runs.flatMap(({ run, values }) => {
        const [file] = filesOf(values.at(-1)?.value);
        return file ? [{ run, file }] : [];
      }),
    [media.runs],
  );
  const [chosen, choose] = useState<string | null>(null);
  const shown = tables.find(({ run }) => run === chosen) ?? tables[0];
  if (!shown) return <p className="panel-note">This table could not be read.</p>;
  return (
    <div className="logged-table">
      {tables.length > 1 && (
        <div className="chooser" role="tablist" aria-label="Run">
          {tables.map(({ run }) => {
            const { name, colour } = styleOf(run);
            return (
              <button
                key={run}
                type="button"
                role="tab"
                aria-selected={run === shown.run}
                title={name}
                onClick={() => choose(run)}
              >
                <svg className="dot" viewBox="0 0 8 8" aria-hidden="true">
                  <circle cx="4" cy="4" r="4" fill={colour} />
                </svg>
                <span>{name}</span>
              </button>
            );
          })}
        </div>
      )}
      <TableFile key={shown.file.path} run={shown.run} file={shown.file} />
    </div>
  );
}

function TableFile({ run, file }: { run: string; file: MediaFile }) {
  const { project } = usePage();
  const found = useQuery({
    ...textQuery(project, run, file.path, file.sha256),
    refetchInterval: (query) => (isMissing(query.state.error) ? 4_000 : false),
  });
  const table = useMemo(() => {
    try {
      return found.data === undefined ? null : tableOf(found.data);
    } catch (error) {
      return error instanceof Error ? error : new Error("This table could not be read.");
    }
  }, [found.data]);
  if (isMissing(found.error)) return <p className="panel-note">Table not uploaded yet.</p>;
  if (found.error) return <p className="panel-note">{found.error.message}</p>;
  if (table === null) return <div className="panel-loading" role="status" aria-label="Loading" />;
  if (table instanceof Error) return <p className="panel-note">{table.message}</p>;
  if (table.rows.length === 0) return <p className="panel-note">This table is empty.</p>;
  return <Grid run={run} file={file} table={table} />;
}

const isMissing = (error: unknown) => error instanceof ApiError && error.status === 404;

interface GridProps {
  run: string;
  file: MediaFile;
  table: TableData;
}

function Grid({ run, file, table }: GridProps) {
  const { project } = usePage();
  const scroller = useRef<HTMLDivElement>(null);
  const [sort, setSort] = useState<{ column: number; isDescending: boolean } | null>(null);
  const rows = useMemo(
    () => (sort ? sortedRows(table, sort.column, sort.isDescending) : table.rows),
    [table, sort],
  );
  const hasPictures = table.rows[0].some((cell) => filesOf(cell).length > 0);
  const list = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => (hasPictures ? PICTURE_ROW_PX : ROW_PX),
    overscan: 10,
  });
  const inView = list.getVirtualItems();
  const before = inView[0]?.start ?? 0;
  const after = list.getTotalSize() - (inView.at(-1)?.end ?? 0);
  const toggle = (column: number) =>
    setSort(
      sort?.column !== column
        ? { column, isDescending: false }
        : sort.isDescending
          ? null
          : { column, isDescending: true },
    );
  return (
    <>
      <div ref={scroller} className="logged-scroll">
        <table>
          <thead>
            <tr>
              {table.columns.map((name, column) => (
                <th
                  key={name}
                  aria-sort={
                    sort?.column !== column
                      ? "none"
                      : sort.isDescending
                        ? "descending"
                        : "ascending"
                  }
                >
                  <button type="button" title={`Sort by ${name}`} onClick={() => toggle(column)}>
                    {name}
                    {sort?.column === column && (
                      <span className={sort.isDescending ? "is-down" : "is-up"}>
                        <ArrowIcon />
                      </span>
                    )}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {before > 0 && <tr style={{ height: before }} />}
            {inView.map(({ index, size }) => (
              <tr key={index} style={{ height: size }}>
                {table.columns.map((name, column) => (
                  <Cell key={name} run={run} value={rows[index][column]} />
                ))}
              </tr>
            ))}
            {after > 0 && <tr style={{ height: after }} />}
          </tbody>
        </table>
      </div>
      <p className="logged-foot">
        {formatStep(table.rows.length)} rows, {table.columns.length} columns
        <a
          className="icon-button"
          href={fileUrl(project, run, file.path, { isDownload: true })}
          aria-label="Download table"
          title="Download"
        >
          <DownloadIcon />
        </a>
      </p>
    </>
  );
}

function Cell({ run, value }: { run: string; value: unknown }) {
  const { project } = usePage();
  const [file] = filesOf(value);
  if (file && isFields(value) && value._type === "image-file") {
    return (
      <td className="is-picture">
        <a
          href={fileUrl(project, run, file.path)}
          target="_blank"
          rel="noreferrer"
          title={file.caption || "Open image"}
        >
          <Picture run={run} file={file} />
        </a>
      </td>
    );
  }
  if (file) {
    return (
      <td>
        <a className="link" href={fileUrl(project, run, file.path, { isDownload: true })}>
          {file.path.slice(file.path.lastIndexOf("/") + 1)}
        </a>
      </td>
    );
  }
  if (typeof value === "number" || typeof value === "bigint") {
    return (
      <td className="is-number" title={formatAny(value)}>
        {formatMeasured(value)}
      </td>
    );
  }
  const text = formatAny(value);
  return <td title={text.length > 20 ? text : undefined}>{text}</td>;
}
