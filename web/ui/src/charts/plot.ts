/**
 * One line panel on canvases. uPlot owns axes, scales, pointer and drag; the curves lie on a canvas of
 * their own, since every run has its own steps, and the highlight on a third above it. Pointing at a
 * run repaints only that third one; the rest fades by CSS.
 */

import uPlot from "uplot";
import type { Curve, Range } from "../api/types";
import { logTickLabel, tickLabels } from "../format";
import { cssColour } from "../state/theme";
import { type Extent, extent, indexNear } from "./curve";
import { HIGHLIGHT, paintCurves, strokeFor } from "./paint";
import { type Frame, padded, projectX, projectY } from "./scale";
import { schedule, unschedule } from "./schedule";

export interface PlotEvents {
  onZoom(from: number, to: number): void;
  onReset(): void;
  /** The pointer, in CSS pixels of the plot area; null when it left. */
  onPointer(at: { left: number; top: number } | null): void;
}

export interface PlotView {
  curves: readonly Curve[];
  x: Range;
  log: boolean;
  colours: ReadonlyMap<string, string>;
}

/** The canvases reach this far beyond the plot area (so does the style sheet), for dots on its edge. */
const MARGIN_PX = 6;
/** Steps are whole numbers, and so are their ticks. */
const STEP_INCREMENTS = Array.from({ length: 16 }, (_, power) =>
  [1, 2, 5].map((digit) => digit * 10 ** power),
).flat();
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
  private lit: { run: string | null; x: number | null } = { run: null, x: null };

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
    const isRebuilt = view.log !== this.view.log;
    this.view = view;
    this.fitY();
    if (isRebuilt) this.rebuild();
    else this.u.setData(this.corners());
  }

  /** Colours changed with the theme: axes too. */
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

  /** How values lie on the plot area. */
  frame(ratio = devicePixelRatio): Frame {
    const { clientWidth, clientHeight } = this.u.over;
    const { x, log } = this.view;
    return { x, y: this.y, log, width: clientWidth * ratio, height: clientHeight * ratio, ratio };
  }

  /** Highlights a run and draws the crosshair at `x`. */
  light(run: string | null, x: number | null): void {
    if (run === this.lit.run && x === this.lit.x) return;
    this.lit = { run, x };
    schedule(this.paintOverlay);
  }

  private fitY(): void {
    const { curves, x, log } = this.view;
    const found = extent(curves, x, log);
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
    const { log } = this.view;
    const axis = { stroke: text, font: AXIS_FONT, ticks: { show: false }, gap: 6 };
    return {
      width: Math.max(50, this.host.clientWidth),
      height: Math.max(50, this.host.clientHeight),
      padding: [8, 14, 0, 0],
      legend: { show: false },
      series: [{}, { paths: () => null, points: { show: false } }],
      scales: {
        x: { time: false, range: () => [this.view.x.from, this.view.x.to] },
        y: { distr: log ? 3 : 1, range: () => [this.y.low, this.y.high] },
      },
      axes: [
        {
          ...axis,
          size: 26,
          space: 52,
          incrs: STEP_INCREMENTS,
          grid: { show: false },
          border: { show: true, stroke: grid, width: 1 },
          values: (_, ticks) => tickLabels(ticks),
        },
        {
          ...axis,
          size: 48,
          space: log ? 24 : 34,
          grid: { stroke: grid, width: 1 },
          values: (_, ticks) =>
            log
              ? ticks.map((tick) => (tick === null ? "" : logTickLabel(tick)))
              : tickLabels(ticks),
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
    const { curves, colours } = this.view;
    paintCurves(ctx, frame, curves, ({ run }) =>
      strokeFor(colours.get(run) ?? "#888", curves.length),
    );
    this.paintOverlay();
  };

  private readonly paintOverlay = (): void => {
    const frame = this.frame();
    const ctx = this.clear(this.overlay, frame);
    if (!ctx) return;
    const { run, x } = this.lit;
    const curve = run === null ? undefined : this.view.curves.find((one) => one.run === run);
    this.base.classList.toggle("is-faded", curve !== undefined && this.view.curves.length > 1);
    if (x !== null) paintCrosshair(ctx, frame, x, this.ink.crosshair);
    if (!curve) return;
    const colour = this.view.colours.get(curve.run) ?? "#888";
    paintCurves(ctx, frame, [curve], () => ({ colour, ...HIGHLIGHT }));
    if (x !== null) paintDot(ctx, frame, curve, x, { fill: colour, ring: this.ink.surface });
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
  curve: Curve,
  x: number,
  colours: { fill: string; ring: string },
): void {
  const slack = ((frame.x.to - frame.x.from) / frame.width) * 12 * frame.ratio;
  const i = indexNear(curve.x, x, slack);
  if (i < 0 || Number.isNaN(curve.mean[i])) return;
  ctx.beginPath();
  ctx.arc(projectX(frame)(curve.x[i]), projectY(frame)(curve.mean[i]), 4 * frame.ratio, 0, 7);
  ctx.fillStyle = colours.fill;
  ctx.strokeStyle = colours.ring;
  ctx.lineWidth = 1.5 * frame.ratio;
  ctx.fill();
  ctx.stroke();
}
