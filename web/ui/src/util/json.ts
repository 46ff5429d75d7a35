/**
 * JSON with integers of any size: those that a JavaScript number cannot represent exactly are bigints,
 * both when parsed and when written. Pure.
 */

/** A string, or an integer of 16 or more digits. */
const LONG = /"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g;
/** Quick test: text without a match has no such number. */
const MAYBE = /\d{16}/;
/** Placeholder for such a number; random for each page load, so that no text contains it. */
const NAME = `int ${Math.random().toString(36).slice(2)}`;
const WRITTEN = new RegExp(`"${NAME}:(-?\\d+)"`, "g");

export function parseJson(text: string): unknown {
  if (!MAYBE.test(text)) return JSON.parse(text);
  let isLong = false;
  const marked = text.replace(LONG, (found, at: number) => {
    if (found[0] === '"' || isPartOfFloat(text, at)) return found;
    if (Number.isSafeInteger(Number(found))) return found;
    isLong = true;
    return `{"${NAME}":"${found}"}`;
  });
  return isLong ? JSON.parse(marked, revive) : JSON.parse(text);
}

function revive(_: string, value: unknown): unknown {
  const digits = (value as Record<string, unknown> | null)?.[NAME];
  return typeof digits === "string" ? BigInt(digits) : value;
}

/** Whether these digits follow a point or an exponent. */
const isPartOfFloat = (text: string, at: number) => /[\d.eE+]/.test(text[at - 1] ?? "");

export function toJson(value: unknown, indent?: number): string {
  const mark = (_: string, inner: unknown) =>
    typeof inner === "bigint" ? `${NAME}:${inner}` : inner;
  const text = JSON.stringify(value, mark, indent);
  // JSON.stringify(undefined) is undefined.
  return text?.replace(WRITTEN, "$1");
}

/** The exact number that a text spells; undefined if it is not a number. */
export function toNumber(text: string): number | bigint | undefined {
  const number = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isNaN(number)) return undefined;
  return /^[+-]?\d+$/.test(text) && !Number.isSafeInteger(number)
    ? BigInt(text.replace("+", ""))
    : number;
}
