/** Chart settings, shared by all panels. */

import { BANDS, RANKS, type Ranks, X_AXES, type XAxis } from "../../api/chartOptions";
import { MAX_SMOOTHING } from "../../state/url";
import { useView, view } from "../../state/view";
import { SettingsIcon } from "../../widgets/icons";
import { Popover } from "../../widgets/Popover";
import { Segments } from "../../widgets/Segments";

const X_NAMES: Record<XAxis, [name: string, title: string]> = {
  step: ["Step", "Training steps"],
  relative: ["Relative", "Time since the start of each run"],
  time: ["Wall", "Wall-clock time"],
};

export function XAxisSegments() {
  const x = useView((shown) => shown.x);
  return (
    <Segments
      label="X axis"
      options={X_AXES.map((each) => [each, ...X_NAMES[each]] as const)}
      value={x}
      onChange={view.setX}
    />
  );
}

/** Logarithmic slider: 0.9 and 0.99 are as far apart as 0 and 0.9. */
const POSITIONS = 100;
const toPosition = (smoothing: number) =>
  Math.round((POSITIONS * Math.log10(1 - smoothing)) / Math.log10(1 - MAX_SMOOTHING));
const toSmoothing = (position: number) =>
  Number((1 - 10 ** ((position / POSITIONS) * Math.log10(1 - MAX_SMOOTHING))).toFixed(3));

export function SmoothingSlider() {
  const smoothing = useView((shown) => shown.smoothing);
  return (
    <label className="slider" title="Smoothing (s). The original curve stays faintly visible.">
      <span className="slider-name">Smoothing</span>
      <input
        type="range"
        min={0}
        max={POSITIONS}
        value={toPosition(smoothing)}
        aria-label="Smoothing"
        aria-valuetext={String(smoothing)}
        onChange={(event) => view.smooth(toSmoothing(Number(event.target.value)))}
      />
      <input
        type="number"
        className="slider-value"
        min={0}
        max={MAX_SMOOTHING}
        step={0.05}
        value={smoothing}
        aria-label="Smoothing value"
        onChange={(event) => view.smooth(Number(event.target.value))}
      />
    </label>
  );
}

const RANK_NAMES: Record<Ranks, [name: string, title: string]> = {
  together: ["Combined", "One curve per run, from all of its ranks"],
  mean: ["Mean ± band", "Mean over the ranks of a run, with a band"],
  each: ["Separate", "One curve per rank"],
};

export function ChartSettings() {
  const ignoreOutliers = useView((shown) => shown.ignoreOutliers);
  const ranks = useView((shown) => shown.ranks);
  const band = useView((shown) => shown.band);
  return (
    <Popover label="Chart settings" align="right" button={<SettingsIcon />}>
      <div className="settings">
        <div className="settings-row is-narrow">
          <span>X axis</span>
          <XAxisSegments />
        </div>
        <div className="settings-row is-narrow">
          <SmoothingSlider />
        </div>
        <label className="settings-row">
          <span>Ignore outliers</span>
          <input
            type="checkbox"
            checked={ignoreOutliers}
            onChange={(event) => view.setIgnoreOutliers(event.target.checked)}
          />
        </label>
        <div className="settings-row">
          <span>Ranks</span>
          <Segments
            label="Ranks"
            options={RANKS.map((each) => [each, ...RANK_NAMES[each]] as const)}
            value={ranks}
            onChange={view.setRanks}
          />
        </div>
        <div className="settings-row">
          <span>Group band</span>
          <Segments
            label="Group band"
            options={BANDS.map((each) => [each, each === "range" ? "Min–max" : "± Std"] as const)}
            value={band}
            onChange={view.setBand}
          />
        </div>
        <Shortcuts />
      </div>
    </Popover>
  );
}

export function ChartControls() {
  return (
    <>
      <span className="toolbar-wide">
        <XAxisSegments />
        <SmoothingSlider />
      </span>
      <ChartSettings />
    </>
  );
}

const SHORTCUTS: readonly [string, string][] = [
  ["/", "search panels"],
  ["r", "search runs"],
  ["t", "toggle table"],
  ["g", "group runs"],
  ["s", "toggle smoothing"],
  ["f", "full screen"],
  ["l", "log scale"],
  ["p", "pin panel"],
  ["← →", "previous, next panel"],
];

function Shortcuts() {
  return (
    <dl className="shortcuts">
      {SHORTCUTS.map(([key, what]) => (
        <div key={key}>
          <dt>
            <kbd>{key}</kbd>
          </dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  );
}
