/** Numbers, steps and ages as text. */

import { toJson } from "./json";

const SUFFIX = ["", "k", "M", "G", "T", "P"];

/** A value with four significant digits; exponents only where they help. */
export function formatValue(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return minus(value.toExponential(3).replace("e+", "e"));
  if (Number.isInteger(value)) return minus(grouped(value));
  if (size >= 1000) return minus(grouped(Math.round(value * 10) / 10));
  return minus(value.toPrecision(4));
}

export function formatStep(step: number): string {
  return minus(grouped(Math.round(step)));
}

function grouped(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 1 });
}

function minus(text: string): string {
  return text.replace("-", "−").replace("e-", "e−");
}

/** Labels for a linear axis: as short as possible while still exact. */
export function tickLabels(ticks: readonly number[]): string[] {
  const largest = ticks.reduce((most, tick) => Math.max(most, Math.abs(tick)), 0);
  const exponential = largest >= 1e18 || (largest > 0 && largest < 1e-3);
  const power = !exponential && largest >= 1e4 ? Math.floor(Math.log10(largest) / 3) : 0;
  const scale = 1000 ** power;
  const write = (tick: number, digits: number) =>
    exponential ? tick.toExponential(digits) : (tick / scale).toFixed(digits);
  const exact = (digits: number) =>
    ticks.every((tick) => Math.abs(Number(write(tick, digits)) * scale - tick) <= largest * 1e-7);
  let digits = 0;
  while (digits < 8 && !exact(digits)) digits += 1;
  return ticks.map((tick) =>
    tick === 0 ? "0" : minus(trimmed(write(tick, digits)).replace("e+", "e")) + SUFFIX[power],
  );
}

/** A label for a logarithmic axis; empty for ticks that are not round. */
export function logTickLabel(tick: number): string {
  const size = Math.abs(tick);
  const digit = size / 10 ** Math.floor(Math.log10(size) + 1e-9);
  if (Math.abs(digit - Math.round(digit)) > 1e-6) return "";
  if (size >= 1e5 || size < 1e-3) return minus(tick.toExponential().replace("e+", "e"));
  return minus(String(Number(tick.toPrecision(6))));
}

function trimmed(text: string): string {
  return text.replace(/(\.\d*?)0+(e|$)/, "$1$2").replace(/\.(e|$)/, "$1");
}

const UNITS: readonly [number, string][] = [
  [365 * 86_400, "y"],
  [30 * 86_400, "mo"],
  [86_400, "d"],
  [3_600, "h"],
  [60, "m"],
];

/** "now", "3m", "2h", "5d" since a Unix time in seconds. */
export function formatAge(atS: number, nowS: number): string {
  const age = Math.max(0, nowS - atS);
  for (const [seconds, unit] of UNITS)
    if (age >= seconds) return `${Math.floor(age / seconds)}${unit}`;
  return age < 10 ? "now" : `${Math.floor(age)}s`;
}

/** "just now", "3m ago". */
export function formatAgo(atS: number, nowS: number): string {
  const age = formatAge(atS, nowS);
  return age === "now" ? "just now" : `${age} ago`;
}

/** Any value of config or summary as text; numbers with all digits. */
export function formatAny(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "number") return formatExact(value);
  if (typeof value === "bigint") return minus(String(value));
  return typeof value === "object" ? toJson(value) : String(value);
}

/** The same for table cells: fractions with eight digits. */
export function formatCell(value: unknown): string {
  const isFraction = typeof value === "number" && !Number.isInteger(value);
  return formatAny(isFraction ? Number(value.toPrecision(8)) : value);
}

/** A value of summary or of a chart as text; integers with all digits. */
export function formatMeasured(value: unknown): string {
  if (typeof value !== "number") return formatAny(value);
  const isLong = Number.isSafeInteger(value) && Math.abs(value) >= 1e6;
  return isLong ? formatExact(value) : formatValue(value);
}

/** All digits of a number. */
function formatExact(value: number): string {
  if (Object.is(value, -0)) return "−0";
  return minus(String(value).replace("e+", "e"));
}

/** From this rank on, lanes hold the system metrics of a node, by a rank on it. */
const SYSTEM_RANK = 2 ** 30;

export function rankName(rank: number): string {
  return `rank ${rank >= SYSTEM_RANK ? rank - SYSTEM_RANK : rank}`;
}
