/** Histograms over steps: a heat map per run, and the bars of the step at the pointer. */

import { useEffect, useMemo, useRef, useState } from "react";
import type { MediaOfRun } from "../../api/types";
import { formatStep, formatValue } from "../../util/format";
import { type Bounds, boundsOf, type Column, columnAt, densities, paintHeat } from "./heat";
import { type MediaProps, mediaKind } from "./mediaKind";
import { More, RunHead, useRunStyle } from "./RunHead";
import { histogramOf } from "./values";

export const histogramKind = mediaKind({
  name: "histogram",
  shows: ["histogram"],
  maxRuns: [8, 24],
  maxSteps: 120,
  Content: Histograms,
});

function Histograms({ media, isFull }: MediaProps) {
  const groups = useMemo(
    () => media.runs.map((of) => ({ of, columns: columnsOf(of) })).filter(hasColumns),
    [media.runs],
  );
  const bounds = useMemo(() => boundsOf(groups.flatMap(({ columns }) => columns)), [groups]);
  if (groups.length === 0) return <p className="panel-note">These histograms could not be read.</p>;
  return (
    <>
      <div className={isFull ? "heats is-full" : "heats"}>
        {groups.map(({ of, columns }) => (
          <Heat key={of.run} of={of} columns={columns} bounds={bounds} />
        ))}
      </div>
      <More left={media.left} />
    </>
  );
}

const hasColumns = ({ columns }: { columns: Column[] }) => columns.length > 0;

function columnsOf(of: MediaOfRun): Column[] {
  return of.values.flatMap(({ step, value }) => {
    const histogram = histogramOf(value);
    return histogram ? [{ step, histogram }] : [];
  });
}

interface HeatProps {
  of: MediaOfRun;
  columns: readonly Column[];
  bounds: Bounds;
}

function Heat({ of, columns, bounds }: HeatProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [highlighted, setHighlighted] = useState<number | null>(null);
  const colour = useRunStyle()(of.run).colour ?? "currentColor";
  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    const paint = () => {
      const { width, height } = element.getBoundingClientRect();
      const ratio = devicePixelRatio || 1;
      element.width = Math.round(width * ratio);
      element.height = Math.round(height * ratio);
      const context = element.getContext("2d");
      if (context) paintHeat(context, columns, bounds, colour, element.width, element.height);
    };
    const observer = new ResizeObserver(paint);
    observer.observe(element);
    return () => observer.disconnect();
  }, [columns, bounds, colour]);
  const shown = highlighted === null ? null : columns[highlighted];
  const [first, last] = [columns[0].step, columns[columns.length - 1].step];
  return (
    <figure className="heat">
      <RunHead of={of} step={last} />
      <div className="heat-plot">
        <div className="heat-values" aria-hidden="true">
          <span>{formatValue(bounds.high)}</span>
          <span>{formatValue(bounds.low)}</span>
        </div>
        <div
          className="heat-area"
          onPointerMove={({ clientX, currentTarget }) => {
            const { left, width } = currentTarget.getBoundingClientRect();
            setHighlighted(columnAt(columns, (clientX - left) / width));
          }}
          onPointerLeave={() => setHighlighted(null)}
        >
          <canvas
            ref={canvas}
            role="img"
            aria-label={`Histograms of ${columns.length} steps, ${formatStep(first)} to ${formatStep(last)}`}
          />
          {highlighted !== null && (
            <span
              className="heat-cursor"
              style={{ left: `${((highlighted + 0.5) / columns.length) * 100}%` }}
            />
          )}
          {shown && highlighted !== null && (
            <Bars column={shown} colour={colour} isLeft={highlighted > columns.length / 2} />
          )}
        </div>
      </div>
      <div className="heat-steps" aria-hidden="true">
        <span>{formatStep(first)}</span>
        <span>step</span>
        <span>{formatStep(last)}</span>
      </div>
    </figure>
  );
}

interface BarsProps {
  column: Column;
  colour: string;
  isLeft: boolean;
}

function Bars({ column, colour, isLeft }: BarsProps) {
  const { counts, edges } = column.histogram;
  const density = densities(column.histogram);
  const most = Math.max(...density) || 1;
  const span = edges[edges.length - 1] - edges[0] || 1;
  const total = counts.reduce((sum, count) => sum + count, 0);
  return (
    <div className={isLeft ? "heat-bars is-left" : "heat-bars"}>
      <p>
        Step {formatStep(column.step)} <span className="count">n = {formatValue(total)}</span>
      </p>
      <svg viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true">
        {density.map((each, bin) => (
          <rect
            key={edges[bin]}
            x={((edges[bin] - edges[0]) / span) * 100}
            width={((edges[bin + 1] - edges[bin]) / span) * 100}
            y={40 - (each / most) * 40}
            height={(each / most) * 40}
            fill={colour}
          />
        ))}
      </svg>
      <p className="heat-range">
        <span>{formatValue(edges[0])}</span>
        <span>{formatValue(edges[edges.length - 1])}</span>
      </p>
    </div>
  );
}
