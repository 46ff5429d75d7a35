/** The read API's shapes, as its OpenAPI document has them, under the names that the page uses. */

import type { components } from "./schema";

type Schemas = components["schemas"];

export interface ProjectRef {
  entity: string;
  project: string;
}

export type Viewer = Schemas["Viewer"];
export type Status = Schemas["Status"];
export type StatedProblem = Schemas["StatedProblem"];
export type MadeKey = Schemas["CreatedKey"];
export type Project = Schemas["Project"];
export type Run = Schemas["Run"];
export type RunChanged = Partial<Schemas["RunEdit"]>;
export type RunsPage = Schemas["Runs"];
export type RunsSearch = Schemas["RunsSearch"];
export type ChartsAsked = Schemas["ChartRequest"];
export type RunsDiff = Schemas["RunsDiff"];
export type KeyInfo = Schemas["Key"];

export type FieldKind = Schemas["FieldOfRuns"]["kinds"][number] | "time";

/** Something that runs can be filtered, sorted and grouped by, and shown as a column. */
export type Field = Pick<Schemas["FieldOfRuns"], "path" | "runs"> &
  Partial<Pick<Schemas["FieldOfRuns"], "min" | "max" | "values">> & { kinds: FieldKind[] };

/** An inclusive range on the x axis. */
export interface Range {
  from: number;
  to: number;
}

/** One curve's buckets in ascending `x`; NaN in min, max and mean where a bucket holds no finite value. */
export interface Curve {
  /** Of the member drawn: a run's id or a group's label. */
  id: string;
  /** The process, where each is drawn by itself. */
  rank: number | null;
  /** Steps in a bucket. */
  width: number;
  /** Where each bucket lies: its last point. */
  x: Float64Array;
  /** Where each bucket begins, as far as is known. */
  firstX: Float64Array;
  step: Float64Array;
  firstStep: Float64Array;
  min: Float64Array;
  max: Float64Array;
  mean: Float64Array;
  /** Between the members of a group or the ranks of a run; else null. */
  std: Float64Array | null;
  nonFinite: Float64Array;
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
