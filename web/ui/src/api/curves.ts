/** `POST /v1/charts`: the request, and the response with msgpack columns as Float64Arrays. */

import { decode } from "@msgpack/msgpack";
import type { ChartOptions, XAxis } from "./chartOptions";
import { request } from "./http";
import type { ChartsBody, Curve, CurveColumns, ProjectRef, Range } from "./types";
import { CURVE_COLUMNS } from "./types";

/** A run, or a group of runs, that has a curve in each chart. */
export interface Series {
  /** The run's id, or the group's label. */
  id: string;
  runs: readonly string[];
}

export interface ChartsRequest {
  project: ProjectRef;
  chartOptions: ChartOptions;
  series: readonly Series[];
  keys: readonly string[];
  range: Range | null;
  buckets: number;
}

type WireColumns = Record<(typeof CURVE_COLUMNS)[keyof typeof CURVE_COLUMNS], Uint8Array>;

interface WireSeries extends WireColumns {
  run: string | null;
  group?: string | null;
  rank?: number | null;
  key: string;
  std?: Uint8Array;
}

interface WireCharts {
  width: number;
  series: WireSeries[];
}

const WIRE_X = { step: "step", relative: "relative", time: "_timestamp" } as const;

/** Copies the bytes: msgpack returns views at any offset, but a Float64Array needs one divisible by 8. */
export function column(bytes: Uint8Array): Float64Array {
  return new Float64Array(bytes.slice().buffer);
}

/** On a time axis only bucket ends are known: a bucket starts no earlier than the previous one ends. */
function bucketStarts(x: Float64Array): Float64Array {
  const first = new Float64Array(x.length);
  first.set(x.subarray(0, -1), 1);
  if (x.length > 0) first[0] = x[0];
  return first;
}

function toCurve(one: WireSeries, width: number, axis: XAxis): Curve {
  const columns = Object.fromEntries(
    Object.entries(CURVE_COLUMNS).map(([name, wireName]) => [name, column(one[wireName])]),
  ) as CurveColumns;
  return {
    ...columns,
    id: one.group ?? one.run ?? "",
    rank: one.rank ?? null,
    width,
    firstX: axis === "step" ? columns.firstStep : bucketStarts(columns.x),
    std: one.std ? column(one.std) : null,
  };
}

export function decodeCharts(body: ArrayBuffer, axis: XAxis): Map<string, Curve[]> {
  const { width, series } = decode(new Uint8Array(body)) as WireCharts;
  const curves = new Map<string, Curve[]>();
  for (const one of series) {
    const curve = toCurve(one, width, axis);
    const ofKey = curves.get(one.key);
    if (ofKey) ofKey.push(curve);
    else curves.set(one.key, [curve]);
  }
  return curves;
}

/** The request's body. */
export function chartsBody(chartsRequest: ChartsRequest): ChartsBody {
  const { project, chartOptions, series, keys, range, buckets } = chartsRequest;
  const what = chartOptions.isGrouped
    ? { groups: Object.fromEntries(series.map(({ id, runs }) => [id, [...runs]])) }
    : { runs: series.map(({ id }) => id) };
  return {
    ...project,
    ...what,
    keys: [...keys],
    buckets,
    ...(chartOptions.x !== "step" && { x: WIRE_X[chartOptions.x] }),
    ...(!chartOptions.isGrouped && chartOptions.ranks === "mean" && { aggregate: "ranks" }),
    ...(!chartOptions.isGrouped && chartOptions.ranks === "each" && { lanes: "rank" }),
    ...(range ?? {}),
  };
}

/** Curves by key. Series and keys without points are absent. */
export async function fetchCharts(
  chartsRequest: ChartsRequest,
  signal: AbortSignal,
): Promise<Map<string, Curve[]>> {
  const response = await request("charts", {
    method: "POST",
    signal,
    headers: { "Content-Type": "application/json", Accept: "application/msgpack" },
    body: JSON.stringify(chartsBody(chartsRequest)),
  });
  return decodeCharts(await response.arrayBuffer(), chartsRequest.chartOptions.x);
}
