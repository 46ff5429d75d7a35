/** Column headers: click to sort, drag to reorder, drag the edge to resize, pin to keep in view. */

import { type PointerEvent, useRef, useState } from "react";
import { shortPath } from "../../api/paths";
import { usePage } from "../../state/page";
import type { Column } from "../../state/url";
import { useView, view } from "../../state/view";
import { ArrowIcon, CloseIcon, PinIcon } from "../../widgets/icons";
import { isNumeric, moved, type Placed, pinned, resized, toggledColumn } from "./columns";

interface Props {
  columns: readonly Column[];
  placed: readonly Placed[];
  nameWidth: number;
}

export function TableHead({ columns, placed, nameWidth }: Props) {
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: its buttons are
    <div role="row" aria-rowindex={1} className="table-head">
      <Head path="name" title="Name" width={nameWidth} className="is-pinned is-name" />
      {placed.map((column) => (
        <ColumnHead key={column.path} column={column} columns={columns} />
      ))}
    </div>
  );
}

interface HeadProps {
  path: string;
  title: string;
  width: number;
  className: string;
  left?: number;
  children?: React.ReactNode;
}

function Head({ path, title, width, className, left, children }: HeadProps) {
  const sort = useView((shown) => shown.sort);
  const isSorted = sort === path || sort === `-${path}`;
  const isDescending = sort.startsWith("-");
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: its buttons are
    <div
      role="columnheader"
      aria-sort={isSorted ? (isDescending ? "descending" : "ascending") : "none"}
      className={`table-cell ${className}`}
      style={{ width, left }}
    >
      <button
        type="button"
        className="table-sort"
        title={`Sort by ${path}`}
        onClick={() =>
          view.sort(sort === `-${path}` ? path : isSorted ? `-${path}` : firstSort(path))
        }
      >
        <span className="table-title">{title}</span>
        {isSorted && (
          <span className={isDescending ? "table-arrow is-down" : "table-arrow"}>
            <ArrowIcon />
          </span>
        )}
      </button>
      {children}
    </div>
  );
}

/** Text sorts ascending first, times and numbers descending. */
const firstSort = (path: string) => (path === "name" || path === "state" ? path : `-${path}`);

function ColumnHead({ column, columns }: { column: Placed; columns: readonly Column[] }) {
  const { path, px, left, isPinned } = column;
  const { query } = usePage();
  const [isTarget, setTarget] = useState(false);
  const classes = ["is-column"];
  if (isPinned) classes.push("is-pinned");
  if (isTarget) classes.push("is-target");
  if (isNumeric(path, query.fields)) classes.push("is-number");
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: columns can also be ordered in the menu
    <div
      className="table-drag"
      style={isPinned ? { width: px, left, position: "sticky", zIndex: 3 } : { width: px }}
      draggable
      onDragStart={(event) => event.dataTransfer.setData("text/plain", path)}
      onDragOver={(event) => {
        event.preventDefault();
        setTarget(true);
      }}
      onDragLeave={() => setTarget(false)}
      onDrop={(event) => {
        event.preventDefault();
        setTarget(false);
        view.setColumns(moved(columns, event.dataTransfer.getData("text/plain"), path));
      }}
    >
      <Head path={path} title={shortPath(path)} width={px} className={classes.join(" ")}>
        <span className="table-tools">
          <button
            type="button"
            aria-label={`Pin column ${path}`}
            aria-pressed={isPinned}
            title={isPinned ? "Unpin" : "Pin to the left"}
            onClick={() => view.setColumns(pinned(columns, path))}
          >
            <PinIcon />
          </button>
          <button
            type="button"
            aria-label={`Remove column ${path}`}
            title="Remove column"
            onClick={() => view.setColumns(toggledColumn(columns, path))}
          >
            <CloseIcon />
          </button>
        </span>
        <ResizeHandle column={column} columns={columns} />
      </Head>
    </div>
  );
}

/** How far an arrow key moves the edge. */
const STEP_PX = 16;

function ResizeHandle({ column, columns }: { column: Placed; columns: readonly Column[] }) {
  const { path, px } = column;
  const start = useRef<{ x: number; px: number } | null>(null);
  const set = (width: number) => view.setColumns(resized(columns, path, width));
  const onMove = (event: PointerEvent) => {
    if (start.current) set(start.current.px + event.clientX - start.current.x);
  };
  return (
    <span
      role="separator"
      aria-label={`Width of column ${path}`}
      aria-orientation="vertical"
      aria-valuenow={px}
      tabIndex={0}
      className="table-edge"
      draggable
      onDragStart={(event) => {
        event.preventDefault();
        event.stopPropagation();
      }}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        start.current = { x: event.clientX, px };
      }}
      onPointerMove={onMove}
      onPointerUp={() => {
        start.current = null;
      }}
      onKeyDown={(event) => {
        if (event.key === "ArrowLeft") set(px - STEP_PX);
        if (event.key === "ArrowRight") set(px + STEP_PX);
      }}
    />
  );
}
