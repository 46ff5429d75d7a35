/** File names and sizes as text; pure. */

export const baseName = (name: string): string => name.slice(name.lastIndexOf("/") + 1);

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** `44.1 kB`, in thousands. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1_000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}
