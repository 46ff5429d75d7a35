/** Columns of the table and their widths; pure. */

import { runField } from "../../api/runFields";
import type { Field } from "../../api/types";
import type { Column } from "../../state/url";

/** The column of eye, colour and name, which is always first. */
export const NAME_WIDTH = 280;
export const PHONE_NAME_WIDTH = 172;
export const MIN_WIDTH = 48;
export const MAX_WIDTH = 800;

const MAX_CONFIG_COLUMNS = 6;
const MAX_SUMMARY_COLUMNS = 5;
const DEFAULT_WIDTH = 116;
const MAX_DIGITS = 20;

export const column = (path: string): Column => ({ path, width: null, isPinned: false });

/** Default columns: config that differs between runs, then summary; most common fields first. */
export function defaultColumns(fields: readonly Field[]): Column[] {
  const isVarying = ({ values, min, max }: Field) =>
    (values?.length ?? 0) > 1 || (typeof min === "number" && min !== max);
  const mostCommon = (a: Field, b: Field) => b.runs - a.runs;
  const config = fields
    .filter((field) => field.path.startsWith("config.") && isVarying(field))
    .sort(mostCommon)
    .slice(0, MAX_CONFIG_COLUMNS);
  const summary = fields
    .filter(({ path, kinds }) => path.startsWith("summary.") && kinds.includes("number"))
    .filter(({ path }) => !path.startsWith("summary._") && !path.startsWith("summary.system/"))
    .sort(mostCommon)
    .slice(0, MAX_SUMMARY_COLUMNS);
  return [
    column("state"),
    column("created_at"),
    ...[...config, ...summary].map(({ path }) => column(path)),
  ];
}

/** Wide enough for all digits of an integer. */
function widthOf({ path, width }: Column, fields: readonly Field[]): number {
  const field = fields.find((each) => each.path === path);
  const most = Math.max(Math.abs(field?.min ?? 0), Math.abs(field?.max ?? 0));
  const digits = most >= 1e12 ? Math.min(MAX_DIGITS, Math.log10(most)) : 0;
  return width ?? runField(path)?.width ?? Math.max(DEFAULT_WIDTH, Math.ceil(digits) * 8 + 28);
}

export interface Placed extends Column {
  px: number;
  /** Distance from the left edge of the table, for pinned columns. */
  left: number;
}

/** Positions of the columns, pinned ones first. */
export function place(
  columns: readonly Column[],
  nameWidth: number,
  fields: readonly Field[] = [],
): Placed[] {
  const ordered = [
    ...columns.filter(({ isPinned }) => isPinned),
    ...columns.filter(({ isPinned }) => !isPinned),
  ];
  let left = nameWidth;
  return ordered.map((each) => {
    const px = widthOf(each, fields);
    const placed = { ...each, px, left };
    left += px;
    return placed;
  });
}

/** Fields of config and summary that the columns need. */
export function fieldsOf(columns: readonly Column[]): string[] {
  return columns
    .map(({ path }) => path)
    .filter((path) => path.startsWith("config.") || path.startsWith("summary."))
    .sort();
}

/** Numbers are aligned right. */
export function isNumeric(path: string, fields: readonly Field[]): boolean {
  const kinds = fields.find((field) => field.path === path)?.kinds ?? [];
  return runField(path) === undefined && kinds.length === 1 && kinds[0] === "number";
}

export function resized(columns: readonly Column[], path: string, px: number): Column[] {
  const width = Math.round(Math.min(MAX_WIDTH, Math.max(MIN_WIDTH, px)));
  return columns.map((each) => (each.path === path ? { ...each, width } : each));
}

export function pinned(columns: readonly Column[], path: string): Column[] {
  return columns.map((each) => (each.path === path ? { ...each, isPinned: !each.isPinned } : each));
}

export function toggledColumn(columns: readonly Column[], path: string): Column[] {
  const without = columns.filter((each) => each.path !== path);
  return without.length < columns.length ? without : [...columns, column(path)];
}

/** Moves `path` to the position of `to`. */
export function moved(columns: readonly Column[], path: string, to: string): Column[] {
  const from = columns.findIndex((each) => each.path === path);
  const at = columns.findIndex((each) => each.path === to);
  if (from < 0 || at < 0 || from === at) return [...columns];
  const rest = columns.toSpliced(from, 1);
  return rest.toSpliced(at, 0, columns[from]);
}
