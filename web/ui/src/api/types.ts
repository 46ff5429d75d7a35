/** The read API's shapes, as docs/api.md gives them. */

export type RunState = "running" | "finished" | "failed" | "crashed" | (string & {});

export interface Viewer {
  entity: string;
  version: string;
  login_required: boolean;
}

export interface ProjectRef {
  entity: string;
  project: string;
}

export interface Project extends ProjectRef {
  runs: number;
  created_at: number;
  updated_at: number;
}

export interface Run extends ProjectRef {
  run: string;
  name: string | null;
  state: RunState;
  group: string | null;
  job_type: string | null;
  tags: string[];
  notes: string | null;
  config: Record<string, unknown>;
  summary: Record<string, unknown>;
  created_at: number;
  updated_at: number;
  last_step: number | null;
}

export interface KeyInfo {
  key: string;
  runs: number;
}

/** An inclusive range of steps. */
export interface Range {
  from: number;
  to: number;
}

/** One curve's buckets in ascending `x`; NaN in min, max and mean where a bucket holds no finite value. */
export interface Curve {
  run: string;
  /** Steps in a bucket. */
  width: number;
  x: Float64Array;
  /** The first step of each bucket that holds a point; `x` is the last. */
  first: Float64Array;
  min: Float64Array;
  max: Float64Array;
  mean: Float64Array;
  nonFinite: Float64Array;
}
