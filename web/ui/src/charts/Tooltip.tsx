/** The values under the pointer, highest first, beside it. */

import { useLayoutEffect, useRef } from "react";
import { usePage } from "../app/page";
import { formatStep, formatValue } from "../format";
import { hover } from "../state/hover";
import { useStore } from "../state/store";
import type { Reading } from "./readout";
import { windowAround } from "./window";

const ROWS = 12;
const GAP_PX = 16;

export function Tooltip() {
  const { panel, x, run, readings, left, top } = useStore(hover);
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
  const { start, shown } = windowAround(readings, run, ROWS);
  const after = readings.length - start - shown.length;
  return (
    <div ref={box} className="tooltip" aria-hidden="true">
      <div className="tooltip-head">{stepsOf(readings, x, run)}</div>
      {start > 0 && <div className="tooltip-more">{start} higher</div>}
      <table>
        <tbody>
          {shown.map((reading) => (
            <Row key={reading.run} reading={reading} isLit={reading.run === run} />
          ))}
        </tbody>
      </table>
      {after > 0 && <div className="tooltip-more">{after} lower</div>}
    </div>
  );
}

function stepsOf(readings: readonly Reading[], x: number, run: string | null): string {
  const there =
    readings.find((reading) => reading.run === run) ?? readings.find((reading) => reading.x === x);
  if (!there || there.first === there.x) return `Step ${formatStep(x)}`;
  return `Steps ${formatStep(there.first)} – ${formatStep(there.x)}`;
}

function Row({ reading, isLit }: { reading: Reading; isLit: boolean }) {
  const { names, colours } = usePage();
  const { run, mean, min, max, nonFinite } = reading;
  return (
    <tr className={isLit ? "is-lit" : undefined}>
      <td>
        <svg className="dot" viewBox="0 0 8 8" aria-hidden="true">
          <circle cx="4" cy="4" r="4" fill={colours.get(run)} />
        </svg>
      </td>
      <td className="tooltip-name">{names.get(run) ?? run}</td>
      <td className="tooltip-value">{formatValue(mean)}</td>
      <td className="tooltip-band">{max > min && `${formatValue(min)} … ${formatValue(max)}`}</td>
      <td className="bad">{nonFinite > 0 && `${formatStep(nonFinite)}× NaN/Inf`}</td>
    </tr>
  );
}
