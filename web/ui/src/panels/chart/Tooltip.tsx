/** The values at the pointer, highest first. */

import { useLayoutEffect, useRef } from "react";
import type { XAxis } from "../../api/chartOptions";
import { formatX } from "../../charts/axis";
import type { Reading } from "../../charts/readout";
import { windowAround } from "../../charts/window";
import { hover } from "../../state/hover";
import { usePage } from "../../state/page";
import { useStore } from "../../state/store";
import { formatMeasured, formatStep, rankName } from "../../util/format";

const ROWS = 12;
const GAP_PX = 16;

export function Tooltip() {
  const { panel, x, seriesId, readings, left, top } = useStore(hover);
  const { chartOptions } = usePage();
  const box = useRef<HTMLDivElement>(null);
  const isShown = panel !== null && x !== null && readings.length > 0;

  useLayoutEffect(() => {
    const element = box.current;
    if (!isShown || !element) return;
    const { offsetWidth: width, offsetHeight: height } = element;
    const toRight = left + GAP_PX;
    const at = toRight + width > innerWidth - 8 ? left - GAP_PX - width : toRight;
    const down = Math.max(8, Math.min(top - height / 3, innerHeight - height - 8));
    element.style.transform = `translate(${Math.round(Math.max(8, at))}px, ${Math.round(down)}px)`;
  });

  if (!isShown) return null;
  const { start, shown } = windowAround(readings, seriesId, ROWS);
  const after = readings.length - start - shown.length;
  return (
    <div ref={box} className="tooltip" aria-hidden="true">
      <div className="tooltip-head">{placeOf(readings, x, seriesId, chartOptions.x)}</div>
      {start > 0 && <div className="tooltip-more">{start} higher</div>}
      <table>
        <tbody>
          {shown.map((reading) => (
            <Row
              key={`${reading.id} ${reading.rank}`}
              reading={reading}
              isHighlighted={reading.id === seriesId}
            />
          ))}
        </tbody>
      </table>
      {after > 0 && <div className="tooltip-more">{after} lower</div>}
    </div>
  );
}

function placeOf(
  readings: readonly Reading[],
  x: number,
  seriesId: string | null,
  axis: XAxis,
): string {
  const there =
    readings.find(({ id }) => id === seriesId) ?? readings.find((reading) => reading.x === x);
  const steps = there && stepsOf(there);
  if (axis === "step") return steps ?? `Step ${formatStep(x)}`;
  return steps ? `${formatX(axis, x)} · ${steps.toLowerCase()}` : formatX(axis, x);
}

function stepsOf({ firstStep, step }: Reading): string {
  if (firstStep === step) return `Step ${formatStep(step)}`;
  return `Steps ${formatStep(firstStep)} – ${formatStep(step)}`;
}

function Row({ reading, isHighlighted }: { reading: Reading; isHighlighted: boolean }) {
  const { names, colours } = usePage();
  const { id, rank, mean, line, std, min, max, nonFinite } = reading;
  const name = names.get(id) ?? id;
  return (
    <tr className={isHighlighted ? "is-highlighted" : undefined}>
      <td>
        <svg className="dot" viewBox="0 0 8 8" aria-hidden="true">
          <circle cx="4" cy="4" r="4" fill={colours.get(id)} />
        </svg>
      </td>
      <td className="tooltip-name">{rank === null ? name : `${name} · ${rankName(rank)}`}</td>
      <td className="tooltip-value">{formatMeasured(line)}</td>
      {!Object.is(line, mean) && <td className="tooltip-band">({formatMeasured(mean)})</td>}
      {std !== null && <td className="tooltip-band">{std > 0 && `± ${formatMeasured(std)}`}</td>}
      <td className="tooltip-band">
        {max > min && `${formatMeasured(min)} … ${formatMeasured(max)}`}
      </td>
      <td className="bad">{nonFinite > 0 && `${formatStep(nonFinite)}× NaN/Inf`}</td>
    </tr>
  );
}
