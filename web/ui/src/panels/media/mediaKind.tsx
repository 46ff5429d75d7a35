/** A kind of panel for media: content of the selected runs at the step that a slider chooses. */

import type { ReactNode } from "react";
import { ApiError } from "../../api/http";
import { usePage } from "../../state/page";
import { formatStep } from "../../util/format";
import type { BodyProps, PanelKind } from "../model/panel";
import { type MediaState, useMediaOf } from "./useMediaOf";

export interface MediaProps {
  /** The key. */
  name: string;
  /** At least one run with a value. */
  media: MediaState;
  isFull: boolean;
}

interface MediaKind extends Pick<PanelKind, "name" | "shows"> {
  /** Number of runs in a panel, normal and full screen. */
  maxRuns: readonly [normal: number, full: number];
  /** Number of steps shown at once. Of several, the last ones are shown, and there is no slider. */
  maxSteps?: number;
  Content(props: MediaProps): ReactNode;
}

/** Media panels are taller than charts, and wider if there is room. */
export function mediaKind({ name, shows, maxRuns, maxSteps = 1, Content }: MediaKind): PanelKind {
  function Body({ panel, isFull }: BodyProps) {
    const [key] = panel.keys;
    const media = useMediaOf(key, maxRuns[isFull ? 1 : 0], maxSteps);
    const hasValues = media.runs.some(({ values }) => values.length > 0);
    return (
      <>
        <div className={`media-body is-${name}`}>
          {hasValues ? (
            <Content name={key} media={media} isFull={isFull} />
          ) : (
            <MediaNote media={media} />
          )}
        </div>
        {maxSteps === 1 && <StepSlider media={media} />}
      </>
    );
  }
  return {
    name,
    height: 380,
    columns: (charts) => (charts > 2 ? charts - 1 : charts),
    shows,
    optionsOf: () => ({}),
    Body,
  };
}

/** Why there is nothing to see. */
function MediaNote({ media }: { media: MediaState }) {
  const { drawn, isLoading } = usePage();
  if (media.runs.length > 0) return <p className="panel-note">No data up to this step.</p>;
  if (media.error) return <MediaProblem error={media.error} onRetry={media.retry} />;
  if (media.isLoading || isLoading) {
    return <div className="panel-loading" role="status" aria-label="Loading" />;
  }
  return (
    <p className="panel-note">
      {drawn.length === 0
        ? "No runs selected. Use the eye icon to show a run."
        : "No data in the selected runs."}
    </p>
  );
}

function MediaProblem({ error, onRetry }: { error: unknown; onRetry(): void }) {
  return (
    <div className="panel-note" role="alert">
      <p>{error instanceof Error ? error.message : "The panel failed to load."}</p>
      {error instanceof ApiError && error.hint && <p>{error.hint}</p>}
      <button type="button" className="button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}

function StepSlider({ media }: { media: MediaState }) {
  const { steps, step, choose } = media;
  if (step === null) return null;
  const at = steps.indexOf(step);
  const last = steps.length - 1;
  return (
    <footer className="media-foot">
      {steps.length > 1 && (
        <input
          type="range"
          min={0}
          max={last}
          value={at}
          aria-label="Step"
          aria-valuetext={`step ${formatStep(step)}`}
          onChange={({ target }) => {
            const index = Number(target.value);
            choose(index === last ? null : steps[index]);
          }}
        />
      )}
      <span className="media-step">
        step {formatStep(step)}
        {steps.length > 1 && <span className="count"> of {formatStep(steps[last])}</span>}
      </span>
    </footer>
  );
}
