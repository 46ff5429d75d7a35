import { type MouseEvent, memo, type ReactNode } from "react";
import { valueAt } from "../../api/paths";
import type { Run } from "../../api/types";
import { usePage } from "../../state/page";
import { routes, view } from "../../state/view";
import { formatAgo, formatAny, formatCell, formatMeasured } from "../../util/format";
import { Dot } from "../../widgets/Dot";
import { Link } from "../../widgets/Link";
import { StateIcon } from "../../widgets/StateIcon";
import { EyeButton } from "../runs/RunRow";
import { isNumeric, type Placed } from "./columns";

interface Props {
  /** undefined: still loading. */
  run: Run | undefined;
  index: number;
  top: number;
  columns: readonly Placed[];
  nameWidth: number;
  colour: string | undefined;
  isShown: boolean;
  now: number;
}

export const TableRow = memo(function TableRow(props: Props) {
  const { run, index, top, columns, nameWidth, colour, isShown, now } = props;
  const open = (event: MouseEvent) => {
    const isAction = (event.target as Element).closest("a, button") !== null;
    if (run && !isAction && getSelection()?.isCollapsed) view.go(routes.run(view.get(), run.run));
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the name is a link for the keyboard
    // biome-ignore lint/a11y/useFocusableInteractive: the name is a link for the keyboard
    <div
      role="row"
      aria-rowindex={index + 2}
      className={isShown ? "table-row" : "table-row is-hidden"}
      data-run={run?.run}
      style={{ transform: `translateY(${top}px)` }}
      onClick={open}
    >
      <div role="cell" className="table-cell is-pinned is-name" style={{ width: nameWidth }}>
        {run ? (
          <>
            <EyeButton run={run} isShown={isShown} />
            <Dot colour={colour} />
            <Link
              className="table-name"
              to={routes.run(view.get(), run.run)}
              title={run.name ?? run.run}
            >
              {run.name || run.run}
            </Link>
          </>
        ) : (
          <span className="table-blank" />
        )}
      </div>
      {columns.map((column) => (
        <Cell key={column.path} run={run} column={column} now={now} />
      ))}
    </div>
  );
});

interface CellProps {
  run: Run | undefined;
  column: Placed;
  now: number;
}

function Cell({ run, column, now }: CellProps) {
  const { path, px, left, isPinned } = column;
  const { query } = usePage();
  const value = run && valueAt(run, path);
  const classes = ["table-cell"];
  if (isPinned) classes.push("is-pinned");
  if (isNumeric(path, query.fields)) classes.push("is-number");
  return (
    <div
      role="cell"
      className={classes.join(" ")}
      style={isPinned ? { width: px, left } : { width: px }}
      title={titleOf(path, value)}
    >
      {run && content(path, value, now)}
    </div>
  );
}

const isTime = (path: string) => path === "created_at" || path === "updated_at";

function titleOf(path: string, value: unknown): string | undefined {
  if (isTime(path)) return new Date((value as number) * 1000).toLocaleString();
  return formatAny(value) || undefined;
}

function content(path: string, value: unknown, now: number): ReactNode {
  if (path === "state") {
    return (
      <>
        <StateIcon state={String(value)} />
        {String(value)}
      </>
    );
  }
  if (isTime(path)) return formatAgo(value as number, now);
  if (path === "tags") {
    return (value as string[]).map((tag) => (
      <span key={tag} className="tag">
        {tag}
      </span>
    ));
  }
  if (path.startsWith("summary.")) return formatMeasured(value);
  return formatCell(value);
}
