/** The panel of a metric: a line chart. */

import { useRef } from "react";
import { ApiError } from "../../api/http";
import { usePage } from "../../state/page";
import { useView, view } from "../../state/view";
import type { BodyProps, PanelKind, PanelProps } from "../model/panel";
import { ChartControls } from "./ChartSettings";
import { type PlotState, usePlot } from "./usePlot";

interface Options {
  /** Whether the y axis is logarithmic. */
  isLog: boolean;
}

export const chartKind: PanelKind<Options> = {
  name: "chart",
  height: 252,
  columns: (charts) => charts,
  shows: "metrics",
  optionsOf: ({ isLog }) => ({ isLog }),
  Body,
  Actions: LogButton,
  Controls: ({ isFull }) => isFull && <ChartControls />,
};

function Body({ panel, isFull, value }: BodyProps<Options>) {
  const host = useRef<HTMLDivElement>(null);
  const state = usePlot(panel.keys[0], panel.options.isLog, isFull ? "full" : "grid", {
    host,
    value,
  });
  return (
    <div className="panel-body">
      <div ref={host} className="plot" />
      <PanelNote state={state} />
    </div>
  );
}

function LogButton({ panel }: PanelProps<Options>) {
  return (
    <button
      type="button"
      className="chip-button"
      aria-pressed={panel.options.isLog}
      title="Logarithmic y axis (l)"
      onClick={() => view.toggleLog(panel.keys[0])}
    >
      log
    </button>
  );
}

function PanelNote({ state }: { state: PlotState }) {
  const isZoomed = useView((shown) => shown.range !== null);
  const { series, isLoading } = usePage();
  const { status, error, isEmpty, retry } = state;
  if (series.length === 0 && !isLoading) {
    return <p className="panel-note">No runs selected. Use the eye icon to show a run.</p>;
  }
  if (status === "error") return <PanelProblem error={error} isEmpty={isEmpty} onRetry={retry} />;
  if (!isEmpty) return null;
  if (status === "loading" || isLoading) {
    return <div className="panel-loading" role="status" aria-label="Loading" />;
  }
  return (
    <div className="panel-note">
      <p>{isZoomed ? "No data in this range." : "No data in the selected runs."}</p>
      {isZoomed && (
        <button type="button" className="button" onClick={() => view.zoom(null)}>
          Reset zoom
        </button>
      )}
    </div>
  );
}

interface ProblemProps {
  error: unknown;
  isEmpty: boolean;
  onRetry(): void;
}

function PanelProblem({ error, isEmpty, onRetry }: ProblemProps) {
  const isUnreachable = error instanceof ApiError && error.status === 0;
  // The live badge already says so; everything is fetched again when the server is back.
  if (isUnreachable && !isEmpty) return null;
  return (
    <div className={isEmpty ? "panel-note" : "panel-note is-corner"} role="alert">
      <p>{error instanceof Error ? error.message : "The chart failed to load."}</p>
      {isEmpty && error instanceof ApiError && error.hint && <p>{error.hint}</p>}
      <button type="button" className="button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}
