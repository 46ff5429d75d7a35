/** `POST /v1/charts`: the request, and its msgpack columns as Float64Arrays. */

import { decode } from "@msgpack/msgpack";
import { request } from "./http";
import type { Curve, ProjectRef, Range } from "./types";

export interface ChartsRequest {
  project: ProjectRef;
  runs: readonly string[];
  keys: readonly string[];
  range: Range | null;
  buckets: number;
}

interface WireSeries {
  run: string;
  key: string;
  x: Uint8Array;
  min: Uint8Array;
  max: Uint8Array;
  mean: Uint8Array;
  non_finite: Uint8Array;
  first_step: Uint8Array;
}

interface WireCharts {
  width: number;
  series: WireSeries[];
}

/** Copies: msgpack hands out views at any offset, and a Float64Array needs one divisible by 8. */
export function column(bytes: Uint8Array): Float64Array {
  return new Float64Array(bytes.slice().buffer);
}

export function decodeCharts(body: ArrayBuffer): Map<string, Curve[]> {
  const { width, series } = decode(new Uint8Array(body)) as WireCharts;
  const curves = new Map<string, Curve[]>();
  for (const one of series) {
    const curve: Curve = {
      run: one.run,
      width,
      x: column(one.x),
      first: column(one.first_step),
      min: column(one.min),
      max: column(one.max),
      mean: column(one.mean),
      nonFinite: column(one.non_finite),
    };
    const ofKey = curves.get(one.key);
    if (ofKey) ofKey.push(curve);
    else curves.set(one.key, [curve]);
  }
  return curves;
}

/** Curves by key. Runs and keys without points are absent. */
export async function fetchCharts(
  ask: ChartsRequest,
  signal: AbortSignal,
): Promise<Map<string, Curve[]>> {
  const { project, runs, keys, range, buckets } = ask;
  const response = await request("charts", {
    method: "POST",
    signal,
    headers: { "Content-Type": "application/json", Accept: "application/msgpack" },
    body: JSON.stringify({ ...project, runs, keys, buckets, ...(range ?? {}) }),
  });
  return decodeCharts(await response.arrayBuffer());
}
