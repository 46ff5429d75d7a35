/** Ticks and labels of the x axis in each of its units; pure. */

import type { XAxis } from "../api/chartOptions";
import { formatStep, tickLabels } from "../util/format";
import { DAY, formatDate, formatDuration, HOUR, MINUTE, shortDuration } from "../util/time";

const powersOfTen = (from: number, count: number) =>
  Array.from({ length: count }, (_, power) =>
    [1, 2, 5].map((digit) => Number(`${digit}e${from + power}`)),
  ).flat();

/** Steps are integers, and so are their ticks. */
const STEPS = powersOfTen(0, 16);
const SECONDS = [
  ...powersOfTen(-3, 3),
  ...[1, 2, 5, 10, 15, 30],
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR),
  ...powersOfTen(0, 5).map((n) => n * DAY),
];

/** Possible tick distances; undefined: calendar units. */
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

/** A value on the axis as text. */
export function formatX(axis: XAxis, x: number): string {
  if (axis === "step") return formatStep(x);
  return axis === "relative" ? formatDuration(x) : formatDate(x);
}
