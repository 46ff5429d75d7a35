/**
 * A line chart on three canvases. uPlot draws the axes and handles scales, pointer and drag. The curves
 * have their own canvas, since every run has its own steps, and so has the highlight above them:
 * pointing at a series repaints only that one, and CSS fades the rest.
 */

import uPlot from "uplot";
import type { XAxis } from "../api/chartOptions";
import type { Curve, Range } from "../api/types";
import { logTickLabel, tickLabels } from "../util/format";
import { increments, ticks } from "./axis";
import { cssColour } from "./cssColour";
import { type Extent, extent, extentWithoutOutliers, indexNear } from "./curve";
import { type CurveStyle, HIGHLIGHT, lineOf, paintCurves, strokeFor } from "./paint";
import { type Frame, padded, projectX, projectY } from "./scale";
import { schedule, unschedule } from "./schedule";

export interface PlotEvents {
  onZoom(from: number, to: number): void;
  onReset(): void;
  /** Pointer position in CSS pixels of the plot area; null when it leaves. */
  onPointer(at: { left: number; top: number } | null): void;
}

export interface PlotView {
  curves: readonly Curve[];
  axis: XAxis;
  x: Range;
  log: boolean;
  /** Exclude outliers from the y axis. */
  ignoreOutliers: boolean;
  style: CurveStyle;
  /** By series. */
  colours: ReadonlyMap<string, string>;
}

/** The canvases extend this far beyond the plot area, for dots on its edge; keep in step with the CSS. */
const MARGIN_PX = 6;
const AXIS_FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

export class LinePlot {
  private readonly host: HTMLElement;
  private readonly events: PlotEvents;
  private view: PlotView;
  private y: Extent = { low: 0, high: 1 };
  private u: uPlot;
  private base = document.createElement("canvas");
  private overlay = document.createElement("canvas");
  private ink = { crosshair: "", surface: "" };
  private highlighted: { seriesId: string | null; x: number | null } = { seriesId: null, x: null };

  constructor(host: HTMLElement, view: PlotView, events: PlotEvents) {
    this.host = host;
    this.view = view;
    this.events = events;
    this.base.className = "plot-curves";
    this.overlay.className = "plot-overlay";
    this.fitY();
    this.u = this.build();
  }

  get plotWidth(): number {
    return this.u.over.clientWidth;
  }

  show(view: PlotView): void {
    const isRebuilt = view.log !== this.view.log || view.axis !== this.view.axis;
    this.view = view;
    this.fitY();
    if (isRebuilt) this.rebuild();
    else this.u.setData(this.corners());
  }

  /** After a theme change: the axes have new colours too. */
  rebuild(): void {
    this.u.destroy();
    this.u = this.build();
  }

  resize(): void {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (width > 0 && height > 0 && (width !== this.u.width || height !== this.u.height)) {
      this.u.setSize({ width, height });
    }
  }

  destroy(): void {
    unschedule(this.paintBase);
    unschedule(this.paintOverlay);
    this.u.destroy();
  }

  /** The plot area in the window, in CSS pixels. */
  box(): DOMRect {
    return this.u.over.getBoundingClientRect();
  }

  /** Maps values to the plot area. */
  frame(ratio = devicePixelRatio): Frame {
    const { clientWidth, clientHeight } = this.u.over;
    const { x, log } = this.view;
    return { x, y: this.y, log, width: clientWidth * ratio, height: clientHeight * ratio, ratio };
  }

  /** Highlights a series and draws the crosshair at `x`. */
  highlight(seriesId: string | null, x: number | null): void {
    if (seriesId === this.highlighted.seriesId && x === this.highlighted.x) return;
    this.highlighted = { seriesId, x };
    schedule(this.paintOverlay);
  }

  private fitY(): void {
    const { curves, x, log, ignoreOutliers } = this.view;
    const found = ignoreOutliers ? extentWithoutOutliers(curves, x, log) : extent(curves, x, log);
    if (found) this.y = padded(found, log);
    else if (log && this.y.low <= 0) this.y = { low: 0.1, high: 10 };
  }

  private corners(): uPlot.AlignedData {
    const { x } = this.view;
    return [
      [x.from, x.to],
      [this.y.low, this.y.high],
    ];
  }

  private build(): uPlot {
    this.ink = { crosshair: cssColour("--crosshair"), surface: cssColour("--surface") };
    const u = new uPlot(this.options(), this.corners(), this.host);
    u.over.append(this.base, this.overlay);
    return u;
  }

  private options(): uPlot.Options {
    const text = cssColour("--text-faint");
    const grid = cssColour("--grid");
    const { log, axis: unit } = this.view;
    const axis = { stroke: text, font: AXIS_FONT, ticks: { show: false }, gap: 6 };
    return {
      width: Math.max(50, this.host.clientWidth),
      height: Math.max(50, this.host.clientHeight),
      padding: [8, 14, 0, 0],
      legend: { show: false },
      series: [{}, { paths: () => null, points: { show: false } }],
      scales: {
        x: { time: unit === "time", range: () => [this.view.x.from, this.view.x.to] },
        y: { distr: log ? 3 : 1, range: () => [this.y.low, this.y.high] },
      },
      axes: [
        {
          ...axis,
          size: 26,
          space: 52,
          incrs: increments(unit),
          grid: { show: false },
          border: { show: true, stroke: grid, width: 1 },
          values: (_, splits, _axis, _space, step) => ticks(unit, splits, step),
        },
        {
          ...axis,
          size: 48,
          space: log ? 24 : 34,
          grid: { stroke: grid, width: 1 },
          values: (_, splits) =>
            log
              ? splits.map((tick) => (tick === null ? "" : logTickLabel(tick)))
              : tickLabels(splits),
        },
      ],
      cursor: {
        x: false,
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false, dist: 5 },
        bind: {
          dblclick: () => () => {
            this.events.onReset();
            return null;
          },
        },
      },
      hooks: {
        draw: [() => schedule(this.paintBase)],
        setCursor: [(u) => this.point(u)],
        setSelect: [(u) => this.select(u)],
      },
    };
  }

  private point({ cursor }: uPlot): void {
    const { left = -1, top = -1 } = cursor;
    this.events.onPointer(left < 0 || top < 0 ? null : { left, top });
  }

  private select(u: uPlot): void {
    const { left, width } = u.select;
    if (width < 2) return;
    this.events.onZoom(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  }

  private clear(canvas: HTMLCanvasElement, frame: Frame): CanvasRenderingContext2D | null {
    const margin = Math.round(MARGIN_PX * frame.ratio);
    const width = Math.round(frame.width) + 2 * margin;
    const height = Math.round(frame.height) + 2 * margin;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const ctx = canvas.getContext("2d");
    ctx?.setTransform(1, 0, 0, 1, 0, 0);
    ctx?.clearRect(0, 0, width, height);
    ctx?.translate(margin, margin);
    return ctx;
  }

  private readonly paintBase = (): void => {
    const frame = this.frame();
    const ctx = this.clear(this.base, frame);
    if (!ctx) return;
    const { curves, style, colours } = this.view;
    paintCurves(ctx, frame, curves, style, ({ id }) =>
      strokeFor(colours.get(id) ?? "#888", curves.length),
    );
    this.paintOverlay();
  };

  private readonly paintOverlay = (): void => {
    const frame = this.frame();
    const ctx = this.clear(this.overlay, frame);
    if (!ctx) return;
    const { seriesId, x } = this.highlighted;
    const { curves, style, colours } = this.view;
    const highlighted = seriesId === null ? [] : curves.filter(({ id }) => id === seriesId);
    this.base.classList.toggle(
      "is-faded",
      highlighted.length > 0 && curves.length > highlighted.length,
    );
    if (x !== null) paintCrosshair(ctx, frame, x, this.ink.crosshair);
    if (highlighted.length === 0) return;
    const colour = colours.get(highlighted[0].id) ?? "#888";
    paintCurves(ctx, frame, highlighted, style, () => ({ colour, ...HIGHLIGHT }));
    if (x === null) return;
    for (const curve of highlighted) {
      const line = lineOf(curve, style);
      paintDot(ctx, frame, { x: curve.x, y: line }, x, { fill: colour, ring: this.ink.surface });
    }
  };
}

function paintCrosshair(
  ctx: CanvasRenderingContext2D,
  frame: Frame,
  x: number,
  colour: string,
): void {
  const at = Math.round(projectX(frame)(x)) + 0.5;
  if (at < 0 || at > frame.width) return;
  ctx.strokeStyle = colour;
  ctx.lineWidth = Math.max(1, Math.floor(frame.ratio));
  ctx.beginPath();
  ctx.moveTo(at, 0);
  ctx.lineTo(at, frame.height);
  ctx.stroke();
}

function paintDot(
  ctx: CanvasRenderingContext2D,
  frame: Frame,
  line: { x: Float64Array; y: Float64Array },
  x: number,
  colours: { fill: string; ring: string },
): void {
  const slack = ((frame.x.to - frame.x.from) / frame.width) * 12 * frame.ratio;
  const i = indexNear(line.x, x, slack);
  if (i < 0 || Number.isNaN(line.y[i])) return;
  ctx.beginPath();
  ctx.arc(projectX(frame)(line.x[i]), projectY(frame)(line.y[i]), 4 * frame.ratio, 0, 7);
  ctx.fillStyle = colours.fill;
  ctx.strokeStyle = colours.ring;
  ctx.lineWidth = 1.5 * frame.ratio;
  ctx.fill();
  ctx.stroke();
}
