/** The panel of a media key (images, tables, histograms …): title, actions, content and step slider. */

import { ApiError } from "../../api/http";
import { usePage } from "../../state/page";
import { formatStep } from "../../util/format";
import { PanelHead } from "../../widgets/PanelHead";
import { Histograms } from "./Histograms";
import { Images } from "./Images";
import { Table } from "./LoggedTable";
import { Files } from "./MediaFiles";
import { type MediaState, useMediaOf } from "./useMediaOf";
import { type Shape, shapeOfKinds } from "./values";

interface Props {
  name: string;
  kinds: readonly string[];
  isFull?: boolean;
}

/** Number of runs in a panel, normal and full screen. */
const MAX_RUNS: Record<Shape, readonly [number, number]> = {
  images: [24, 100],
  histogram: [8, 24],
  table: [50, 50],
  html: [6, 24],
  audio: [12, 50],
  video: [6, 24],
  other: [24, 100],
};
const STEPS_OF_HISTOGRAM = 120;

export function MediaPanel({ name, kinds, isFull = false }: Props) {
  const shape = shapeOfKinds(kinds);
  const mostValues = shape === "histogram" ? STEPS_OF_HISTOGRAM : 1;
  const media = useMediaOf(name, MAX_RUNS[shape][isFull ? 1 : 0], mostValues);
  return (
    <article
      className={isFull ? "panel media-panel is-full" : "panel media-panel"}
      data-panel={name}
      aria-label={name}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: panels handle the keys f and p
      tabIndex={0}
    >
      <PanelHead name={name} isFull={isFull} />
      <div className={`media-body is-${shape}`}>
        <Body name={name} shape={shape} media={media} isFull={isFull} />
      </div>
      {shape !== "histogram" && <StepSlider media={media} />}
    </article>
  );
}

interface BodyProps {
  name: string;
  shape: Shape;
  media: MediaState;
  isFull: boolean;
}

function Body({ name, shape, media, isFull }: BodyProps) {
  const { drawn, isLoading } = usePage();
  const { runs, error, retry } = media;
  if (runs.length === 0) {
    if (error) return <MediaProblem error={error} onRetry={retry} />;
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
  if (runs.every(({ values }) => values.length === 0)) {
    return <p className="panel-note">No data up to this step.</p>;
  }
  if (shape === "images") return <Images name={name} media={media} />;
  if (shape === "histogram") return <Histograms media={media} isFull={isFull} />;
  if (shape === "table") return <Table media={media} />;
  return <Files shape={shape} media={media} />;
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
