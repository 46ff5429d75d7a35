/** Connects feed, plot, view and pointer of a panel while it is on screen. */

import { type RefObject, useEffect, useMemo, useRef, useState } from "react";
import type { Curve, Range } from "../../api/types";
import { span } from "../../charts/curve";
import type { Feed, FeedStatus } from "../../charts/feed";
import type { CurveStyle } from "../../charts/paint";
import { LinePlot } from "../../charts/plot";
import { nearestSeries, readAt, snap } from "../../charts/readout";
import { bucketsFor, domain, wholeBuckets, zoomOf } from "../../charts/scale";
import { schedule, unschedule } from "../../charts/schedule";
import { hover, NOTHING } from "../../state/hover";
import { type Page, usePage } from "../../state/page";
import { useDark } from "../../state/theme";
import { useView, view } from "../../state/view";
import { formatMeasured } from "../../util/format";

export interface PlotState {
  status: FeedStatus;
  error: unknown;
  isEmpty: boolean;
  retry(): void;
}

interface Refs {
  host: RefObject<HTMLDivElement | null>;
  /** Shows the value of the highlighted series. */
  value: RefObject<HTMLElement | null>;
}

interface Inputs {
  page: Page;
  range: Range | null;
  isLog: boolean;
  ignoreOutliers: boolean;
  style: CurveStyle;
}

/** A mounted panel, outside of React rendering. */
class MountedPanel {
  private readonly plot: LinePlot;
  private readonly feed: Feed;
  private readonly key: string;
  private readonly value: HTMLElement | null;
  private inputs: Inputs;
  private curves: readonly Curve[] = [];
  private pointer: { left: number; top: number } | null = null;
  private readonly onState: (state: Omit<PlotState, "retry">) => void;
  private readonly stops: (() => void)[];

  constructor(
    key: string,
    feed: Feed,
    host: HTMLElement,
    value: HTMLElement | null,
    inputs: Inputs,
    onState: (state: Omit<PlotState, "retry">) => void,
  ) {
    this.key = key;
    this.feed = feed;
    this.value = value;
    this.inputs = inputs;
    this.onState = onState;
    this.plot = new LinePlot(host, this.plotView(), {
      onZoom: (from, to) => view.zoom(zoomOf(this.inputs.page.chartOptions.x, from, to)),
      onReset: () => view.zoom(null),
      onPointer: (at) => {
        this.pointer = at;
        schedule(this.point);
      },
    });
    feed.onChange = () => schedule(this.draw);
    const resized = new ResizeObserver(() => {
      this.plot.resize();
      this.requestCurves();
    });
    resized.observe(host);
    this.stops = [
      () => resized.disconnect(),
      inputs.page.live.tick.subscribe(() => feed.sync()),
      hover.subscribe(this.highlight),
    ];
  }

  /** Fetches and draws only if what the panel shows has changed. The feed reports new points. */
  update(inputs: Inputs): void {
    const { page, range, isLog, ignoreOutliers, style } = this.inputs;
    const isSameData =
      inputs.range === range &&
      inputs.page.series === page.series &&
      inputs.page.chartOptions === page.chartOptions;
    const isSame =
      isSameData &&
      inputs.isLog === isLog &&
      inputs.ignoreOutliers === ignoreOutliers &&
      inputs.style === style &&
      inputs.page.colours === page.colours;
    this.inputs = inputs;
    if (!isSameData) this.start();
    else if (!isSame) schedule(this.draw);
  }

  start(): void {
    this.requestCurves();
    schedule(this.draw);
  }

  retheme(): void {
    this.plot.rebuild();
  }

  destroy(): void {
    for (const stop of this.stops) stop();
    unschedule(this.draw);
    unschedule(this.point);
    this.feed.pause();
    this.plot.destroy();
    if (hover.get().panel === this.key) hover.set(NOTHING);
  }

  private requestCurves(): void {
    const { page, range } = this.inputs;
    const buckets = bucketsFor(this.plot.plotWidth, devicePixelRatio);
    const whole = range && page.chartOptions.x === "step" ? wholeBuckets(range, buckets) : range;
    this.feed.request({
      chartOptions: page.chartOptions,
      series: page.series,
      range: whole,
      buckets,
    });
  }

  private plotView() {
    const { page, range, isLog, ignoreOutliers, style } = this.inputs;
    const { chartOptions, colours } = page;
    const x = range ?? domain(span(this.curves), chartOptions.x === "step" ? page.domain : null);
    return {
      curves: this.curves,
      axis: chartOptions.x,
      x,
      log: isLog,
      ignoreOutliers,
      style,
      colours,
    };
  }

  private readonly draw = (): void => {
    const { status, error } = this.feed;
    this.curves = this.feed.curves();
    this.plot.show(this.plotView());
    this.highlight();
    this.onState({ status, error, isEmpty: this.curves.length === 0 });
  };

  /** Once per frame, however often the pointer moves. */
  private readonly point = (): void => {
    const at = this.pointer;
    if (!at) {
      if (hover.get().panel === this.key) hover.set(NOTHING);
      return;
    }
    const frame = this.plot.frame();
    const under =
      frame.x.from + ((at.left * frame.ratio) / frame.width) * (frame.x.to - frame.x.from);
    const { style } = this.inputs;
    const readings = readAt(this.curves, frame, style, under);
    const box = this.plot.box();
    const seriesId = nearestSeries(this.curves, frame, style, at);
    hover.set({
      panel: this.key,
      x: readings.find(({ id }) => id === seriesId)?.x ?? snap(readings, under),
      seriesId,
      readings,
      left: box.left + at.left,
      top: box.top + at.top,
    });
  };

  private readonly highlight = (): void => {
    const { seriesId, x } = hover.get();
    this.plot.highlight(seriesId, x);
    if (!this.value) return;
    // A single curve always shows its value.
    const only = this.curves.length === 1 ? this.curves[0] : undefined;
    const curve = only ?? this.curves.find(({ id }) => id === seriesId);
    const at = x ?? curve?.x.at(-1);
    const reading =
      curve && at !== undefined && readAt([curve], this.plot.frame(), this.inputs.style, at)[0];
    this.value.textContent = reading ? formatMeasured(reading.line) : "";
  };
}

/** `place` tells apart panels of one key that are on screen together. */
export function usePlot(key: string, isLog: boolean, place: string, refs: Refs): PlotState {
  const page = usePage();
  const range = useView((shown) => shown.range);
  const ignoreOutliers = useView((shown) => shown.ignoreOutliers);
  const smoothing = useView((shown) => shown.smoothing);
  const band = useView((shown) => shown.band);
  const style = useMemo(() => ({ smoothing, band }), [smoothing, band]);
  const isDark = useDark();
  const mounted = useRef<MountedPanel | null>(null);
  const [state, setState] = useState<Omit<PlotState, "retry">>({
    status: "loading",
    error: null,
    isEmpty: true,
  });
  const inputs = useRef<Inputs>({ page, range, isLog, ignoreOutliers, style });
  inputs.current = { page, range, isLog, ignoreOutliers, style };
  const { feedCache } = page;
  const { host, value } = refs;

  useEffect(() => {
    if (!host.current) return;
    const onState = (next: Omit<PlotState, "retry">) =>
      setState((old) =>
        old.status === next.status && old.isEmpty === next.isEmpty && old.error === next.error
          ? old
          : next,
      );
    const feed = feedCache.get(key, place);
    const panel = new MountedPanel(key, feed, host.current, value.current, inputs.current, onState);
    mounted.current = panel;
    panel.start();
    return () => {
      mounted.current = null;
      panel.destroy();
    };
  }, [feedCache, key, place, host, value]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: `inputs` consists of these
  useEffect(
    () => mounted.current?.update(inputs.current),
    [page, range, isLog, ignoreOutliers, style],
  );

  // biome-ignore lint/correctness/useExhaustiveDependencies: colours are read from the document again
  useEffect(() => mounted.current?.retheme(), [isDark]);

  return { ...state, retry: () => feedCache.get(key, place).retry() };
}
