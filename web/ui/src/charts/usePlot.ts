/** Joins a feed, a plot, the shared view and the pointer for as long as a panel is on screen. */

import { type RefObject, useEffect, useRef, useState } from "react";
import type { Curve, Range } from "../api/types";
import { type Page, usePage } from "../app/page";
import { formatValue } from "../format";
import { hover, NOTHING } from "../state/hover";
import { useDark } from "../state/theme";
import { useView, view } from "../state/view";
import { span } from "./curve";
import type { Feed, FeedStatus } from "./feed";
import { LinePlot } from "./plot";
import { nearestRun, readAt, snap } from "./readout";
import { bucketsFor, domain, wholeSteps } from "./scale";
import { schedule, unschedule } from "./schedule";

export interface PlotState {
  status: FeedStatus;
  error: unknown;
  isEmpty: boolean;
  retry(): void;
}

interface Refs {
  host: RefObject<HTMLDivElement | null>;
  /** Shows the highlighted run's value. */
  value: RefObject<HTMLElement | null>;
}

interface Inputs {
  page: Page;
  range: Range | null;
  isLog: boolean;
}

/** A mounted panel, outside of React's rendering. */
class Mounted {
  private readonly plot: LinePlot;
  private readonly feed: Feed;
  private readonly key: string;
  private readonly value: HTMLElement | null;
  private inputs: Inputs;
  private curves: readonly Curve[] = [];
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
      onZoom: (from, to) => view.zoom(wholeSteps(from, to)),
      onReset: () => view.zoom(null),
      onPointer: (at) => this.point(at),
    });
    feed.onChange = () => schedule(this.draw);
    const resized = new ResizeObserver(() => {
      this.plot.resize();
      this.ask();
    });
    resized.observe(host);
    this.stops = [
      () => resized.disconnect(),
      inputs.page.live.tick.subscribe(() => feed.sync()),
      hover.subscribe(this.light),
    ];
  }

  /** Only what the panel shows makes it fetch and draw; that a run advanced, its feed tells. */
  update(inputs: Inputs): void {
    const { page, range, isLog } = this.inputs;
    const isSame =
      inputs.range === range &&
      inputs.isLog === isLog &&
      inputs.page.drawn === page.drawn &&
      inputs.page.colours === page.colours;
    this.inputs = inputs;
    if (!isSame) this.start();
  }

  start(): void {
    this.ask();
    schedule(this.draw);
  }

  retheme(): void {
    this.plot.rebuild();
  }

  destroy(): void {
    for (const stop of this.stops) stop();
    unschedule(this.draw);
    this.feed.pause();
    this.plot.destroy();
    if (hover.get().panel === this.key) hover.set(NOTHING);
  }

  private ask(): void {
    const { page, range } = this.inputs;
    const buckets = bucketsFor(this.plot.plotWidth, devicePixelRatio);
    this.feed.request({ runs: page.drawn, range, buckets });
  }

  private plotView() {
    const { page, range, isLog } = this.inputs;
    const x = range ?? domain(span(this.curves), page.domain);
    return { curves: this.curves, x, log: isLog, colours: page.colours };
  }

  private readonly draw = (): void => {
    const { status, error } = this.feed;
    this.curves = this.feed.curves();
    this.plot.show(this.plotView());
    this.light();
    this.onState({ status, error, isEmpty: this.curves.length === 0 });
  };

  private point(at: { left: number; top: number } | null): void {
    if (!at) {
      if (hover.get().panel === this.key) hover.set(NOTHING);
      return;
    }
    const frame = this.plot.frame();
    const under =
      frame.x.from + ((at.left * frame.ratio) / frame.width) * (frame.x.to - frame.x.from);
    const readings = readAt(this.curves, frame, under);
    const box = this.plot.box();
    const run = nearestRun(this.curves, frame, at);
    hover.set({
      panel: this.key,
      x: readings.find((reading) => reading.run === run)?.x ?? snap(readings, under),
      run,
      readings,
      left: box.left + at.left,
      top: box.top + at.top,
    });
  }

  private readonly light = (): void => {
    const { run, x } = hover.get();
    this.plot.light(run, x);
    if (!this.value) return;
    const curve = run === null ? undefined : this.curves.find((one) => one.run === run);
    const last = curve?.x.at(-1);
    const reading = curve && last !== undefined && readAt([curve], this.plot.frame(), x ?? last)[0];
    this.value.textContent = reading ? formatValue(reading.mean) : "";
  };
}

export function usePlot(key: string, place: string, isInView: boolean, refs: Refs): PlotState {
  const page = usePage();
  const range = useView((shown) => shown.range);
  const isLog = useView((shown) => shown.log.has(key));
  const isDark = useDark();
  const mounted = useRef<Mounted | null>(null);
  const [state, setState] = useState<Omit<PlotState, "retry">>({
    status: "loading",
    error: null,
    isEmpty: true,
  });
  const inputs = useRef<Inputs>({ page, range, isLog });
  inputs.current = { page, range, isLog };
  const { shelf } = page;
  const { host, value } = refs;

  useEffect(() => {
    if (!isInView || !host.current) return;
    const onState = (next: Omit<PlotState, "retry">) =>
      setState((old) =>
        old.status === next.status && old.isEmpty === next.isEmpty && old.error === next.error
          ? old
          : next,
      );
    const feed = shelf.take(key, place);
    const panel = new Mounted(key, feed, host.current, value.current, inputs.current, onState);
    mounted.current = panel;
    panel.start();
    return () => {
      mounted.current = null;
      panel.destroy();
    };
  }, [isInView, shelf, key, place, host, value]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: these are what `inputs` is made of
  useEffect(() => mounted.current?.update(inputs.current), [page, range, isLog]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: colours are read from the document anew
  useEffect(() => mounted.current?.retheme(), [isDark]);

  return { ...state, retry: () => shelf.take(key, place).retry() };
}
