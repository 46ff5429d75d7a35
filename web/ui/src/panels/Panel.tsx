/** The panel of one metric: title, actions and chart. */

import { useRef } from "react";
import { ApiError } from "../api/http";
import { usePage } from "../state/page";
import { useView, view } from "../state/view";
import { PanelHead } from "../widgets/PanelHead";
import { ChartControls } from "./ChartSettings";
import { type PlotState, usePlot } from "./usePlot";

interface Props {
  name: string;
  isFull?: boolean;
}

export function Panel({ name, isFull = false }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const value = useRef<HTMLSpanElement>(null);
  const state = usePlot(name, isFull ? "full" : "grid", { host, value });
  const isLog = useView((shown) => shown.log.has(name));
  return (
    <article
      className={isFull ? "panel is-full" : "panel"}
      data-panel={name}
      aria-label={name}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: panels handle the keys f and l
      tabIndex={0}
    >
      <PanelHead name={name} isFull={isFull} value={value} controls={isFull && <ChartControls />}>
        <button
          type="button"
          className="chip-button"
          aria-pressed={isLog}
          title="Logarithmic y axis (l)"
          onClick={() => view.toggleLog(name)}
        >
          log
        </button>
      </PanelHead>
      <div className="panel-body">
        <div ref={host} className="plot" />
        <PanelNote state={state} />
      </div>
    </article>
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
