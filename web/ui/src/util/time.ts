/** Times and durations as text; pure. */

export const MINUTE = 60;
export const HOUR = 3_600;
export const DAY = 86_400;

/** As precise as ticks `incrementS` apart need. */
export function shortDuration(seconds: number, incrementS: number): string {
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

/** "1h 5m", "42s", "3d 4h". */
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
