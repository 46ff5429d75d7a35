/** The x axis in each of its units: which ticks it has, and how values on it are written; pure. */

import { formatStep, tickLabels } from "../format";
import type { XAxis } from "../state/url";

const MINUTE = 60;
const HOUR = 3_600;
const DAY = 86_400;

const powersOfTen = (from: number, count: number) =>
  Array.from({ length: count }, (_, power) =>
    [1, 2, 5].map((digit) => Number(`${digit}e${from + power}`)),
  ).flat();

/** Steps are whole numbers, and so are their ticks. */
const STEPS = powersOfTen(0, 16);
const SECONDS = [
  ...powersOfTen(-3, 3),
  ...[1, 2, 5, 10, 15, 30],
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR),
  ...powersOfTen(0, 5).map((n) => n * DAY),
];

/** Distances that ticks may have; undefined: the calendar decides. */
export function increments(axis: XAxis): number[] | undefined {
  if (axis === "time") return undefined;
  return axis === "step" ? STEPS : SECONDS;
}

export function ticks(axis: XAxis, at: readonly number[], incrementS: number): string[] {
  if (axis === "step") return tickLabels(at);
  if (axis === "relative") return at.map((tick) => shortDuration(tick, incrementS));
  const day = new Intl.DateTimeFormat("en", { month: "short", day: "numeric" });
  const clock = clockOf(incrementS);
  let dayBefore = "";
  return at.map((tick) => {
    const date = new Date(tick * 1000);
    const today = day.format(date);
    const isNewDay = today !== dayBefore;
    dayBefore = today;
    return incrementS >= DAY || (isNewDay && isMidnight(date)) ? today : clock.format(date);
  });
}

function isMidnight(date: Date): boolean {
  return date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
}

function clockOf(incrementS: number): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat("en", {
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    ...(incrementS < MINUTE && { second: "2-digit" }),
    ...(incrementS < 1 && { fractionalSecondDigits: 3 }),
  });
}

/** As exact as ticks this far apart need. */
function shortDuration(seconds: number, incrementS: number): string {
  if (seconds === 0) return "0";
  if (seconds < 0) return `−${shortDuration(-seconds, incrementS)}`;
  if (incrementS < 1) return `${Number(seconds.toFixed(3))}s`;
  const unit = incrementS >= DAY ? 0 : incrementS >= HOUR ? 1 : incrementS >= MINUTE ? 2 : 3;
  const whole = Math.round(seconds);
  const parts = [
    [Math.floor(whole / DAY), "d"],
    [Math.floor((whole % DAY) / HOUR), "h"],
    [Math.floor((whole % HOUR) / MINUTE), "m"],
    [whole % MINUTE, "s"],
  ] as const;
  const said = parts.filter(([count], place) => count > 0 && place <= unit);
  return said.map(([count, name]) => `${count}${name}`).join(" ") || "0";
}

/** "1h 5m", "42s", "3d 4h", for reading. */
export function formatDuration(seconds: number): string {
  const size = Math.max(0, seconds);
  if (size < 10) return `${Number(size.toPrecision(2))}s`;
  return shortDuration(size, size >= 2 * DAY ? HOUR : size >= 2 * HOUR ? MINUTE : 1);
}

export function formatDate(unixS: number): string {
  return new Intl.DateTimeFormat("en", {
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  }).format(unixS * 1000);
}

/** A place on the axis, in words. */
export function formatX(axis: XAxis, x: number): string {
  if (axis === "step") return formatStep(x);
  return axis === "relative" ? formatDuration(x) : formatDate(x);
}
