/** Types of the read API, from its OpenAPI document, under the names that the page uses, and the columns of curves. */

import type { components } from "./schema";

type Schemas = components["schemas"];

export interface ProjectRef {
  entity: string;
  project: string;
}

export type Viewer = Schemas["Viewer"];
export type Status = Schemas["Status"];
export type StatedProblem = Schemas["StatedProblem"];
export type CreatedKey = Schemas["CreatedKey"];
export type Project = Schemas["Project"];
export type Run = Schemas["Run"];
export type RunEdit = Partial<Schemas["RunEdit"]>;
export type RunsPage = Schemas["Runs"];
export type RunsSearch = Schemas["RunsSearch"];
export type ChartsBody = Schemas["ChartRequest"];
export type RunsDiff = Schemas["RunsDiff"];
export type KeyInfo = Schemas["Key"];

export type FieldKind = Schemas["FieldOfRuns"]["kinds"][number] | "time";

/** A field for filters, sorting, grouping and table columns. */
export type Field = Pick<Schemas["FieldOfRuns"], "path" | "runs"> &
  Partial<Pick<Schemas["FieldOfRuns"], "min" | "max" | "values">> & { kinds: FieldKind[] };

/** An inclusive range on the x axis. */
export interface Range {
  from: number;
  to: number;
}

/** A curve's buckets in ascending `x`. Min, max and mean are NaN in buckets without finite values. */
/** A curve's columns here, and their names in replies: the only place for a new one. */
export const CURVE_COLUMNS = {
  /** Position of each bucket: its last point. */
  x: "x",
  step: "step",
  firstStep: "first_step",
  min: "min",
  max: "max",
  mean: "mean",
  nonFinite: "non_finite",
} as const;

export type CurveColumns = Record<keyof typeof CURVE_COLUMNS, Float64Array>;

export interface Curve extends CurveColumns {
  /** The series' id: a run's id or a group's label. */
  id: string;
  /** The rank, if each rank has its own curve. */
  rank: number | null;
  /** Steps in a bucket. */
  width: number;
  /** Start of each bucket, as far as known. */
  firstX: Float64Array;
  /** Between the runs of a group or the ranks of a run; else null. */
  std: Float64Array | null;
}

export type MediaKey = Schemas["MediaKeyOfProject"];
export type Media = Schemas["Media"];
export type MediaOfRun = Schemas["MediaOfRun"];
export type MediaValue = Schemas["MediaValueAtStep"];
export type FileOfRun = Schemas["FileOfRun"];
export type ArtifactVersion = Schemas["ArtifactVersion"];
export type FileOfArtifact = Schemas["FileOfArtifact"];
export type FilesPage = Schemas["Files"];
export type ConsolePage = Schemas["Console"];
export type ConsoleLine = Schemas["ConsoleLineOfRun"];
