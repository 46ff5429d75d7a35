/** How curves are drawn, for all panels at once. */

import { RANKS, type Ranks, X_AXES, type XAxis } from "../api/curves";
import { BANDS } from "../charts/paint";
import { MAX_SMOOTHING } from "../state/url";
import { useView, view } from "../state/view";
import { SettingsIcon } from "../widgets/icons";
import { Popover } from "../widgets/Popover";
import { Segments } from "../widgets/Segments";

const X_NAMES: Record<XAxis, [name: string, title: string]> = {
  step: ["Step", "Over steps"],
  relative: ["Relative", "Over the time since each run began"],
  time: ["Wall", "Over the time of day"],
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

/** The slider's ends are where it matters: 0.9 and 0.99 are as far apart as 0 and 0.9. */
const POSITIONS = 100;
const toPosition = (smoothing: number) =>
  Math.round((POSITIONS * Math.log10(1 - smoothing)) / Math.log10(1 - MAX_SMOOTHING));
const toSmoothing = (position: number) =>
  Number((1 - 10 ** ((position / POSITIONS) * Math.log10(1 - MAX_SMOOTHING))).toFixed(3));

export function SmoothingSlider() {
  const smoothing = useView((shown) => shown.smoothing);
  return (
    <label className="slider" title="Smoothing (s): the curve as it is stays faint behind">
      <span className="slider-name">Smooth</span>
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
        aria-label="Smoothing as a number"
        onChange={(event) => view.smooth(Number(event.target.value))}
      />
    </label>
  );
}

const RANK_NAMES: Record<Ranks, [name: string, title: string]> = {
  together: ["Together", "All processes of a run in one curve"],
  mean: ["Mean ± band", "The mean over a run's processes, with a band"],
  each: ["Each", "Every process of a run by itself"],
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
          <span>Processes of a run</span>
          <Segments
            label="Processes of a run"
            options={RANKS.map((each) => [each, ...RANK_NAMES[each]] as const)}
            value={ranks}
            onChange={view.setRanks}
          />
        </div>
        <div className="settings-row">
          <span>Band of groups</span>
          <Segments
            label="Band of groups"
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
  ["t", "table"],
  ["g", "group"],
  ["s", "smoothing"],
  ["f", "full screen"],
  ["l", "log axis"],
  ["p", "pin"],
  ["← →", "next panel"],
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
