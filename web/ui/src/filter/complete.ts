/** Completion for the filter box; pure. */

import { RUN_FIELDS } from "../api/runFields";
import type { Field } from "../api/types";
import { resolve } from "./compile";
import { isKeyword, quoted, type Token, tokenize } from "./tokens";

export interface Option {
  /** The text to insert. */
  text: string;
  label: string;
  hint: string;
}

export interface Completion {
  /** The part of the text that an option replaces. */
  from: number;
  to: number;
  options: Option[];
}

const MAX_OPTIONS = 50;

/** Looks only at the text before `caret`. */
export function complete(text: string, caret: number, fields: readonly Field[]): Completion {
  const tokens = tokenize(text.slice(0, caret));
  const last = tokens.at(-1);
  const isPartial = last !== undefined && last.end === caret && isWritten(last);
  const partial = isPartial ? last : undefined;
  const before = isPartial ? tokens.slice(0, -1) : tokens;
  const typed = partial?.text ?? "";
  const options = expected(before, fields)
    .filter(({ text: option, label }) => matches(option, label, typed))
    .sort((a, b) => rank(a, typed) - rank(b, typed))
    .slice(0, MAX_OPTIONS);
  return { from: partial?.at ?? caret, to: caret, options };
}

const isWritten = (token: Token) => token.kind === "word" || token.isOpen === true;

function matches(text: string, label: string, typed: string): boolean {
  const plain = typed.toLowerCase();
  return text !== typed && (label.toLowerCase().includes(plain) || text.toLowerCase() === plain);
}

/** Matches at the start come first, then after the prefix. */
function rank({ label }: Option, typed: string): number {
  const name = label.toLowerCase();
  const plain = typed.toLowerCase();
  if (name.startsWith(plain)) return 0;
  return name.includes(`.${plain}`) ? 1 : 2;
}

function expected(before: readonly Token[], fields: readonly Field[]): Option[] {
  const last = before.at(-1);
  const isStart =
    !last ||
    last.kind === "(" ||
    isKeyword(last, "and", "or", "not") ||
    (last.kind === "op" && (last.text === "&&" || last.text === "||"));
  if (isStart) return fieldOptions(fields);
  if (last.kind === "op" || last.kind === "[" || last.kind === ",") {
    const name = fieldBefore(before);
    return valueOptions(name ? resolve(name.text, fields) : undefined);
  }
  if (isField(before)) return operatorOptions(resolve(last.text, fields));
  return JOINERS;
}

/** Whether the last token is a field without an operator. */
function isField(before: readonly Token[]): boolean {
  const last = before.at(-1);
  if (last?.kind !== "word" && last?.kind !== "text") return false;
  if (isKeyword(last, "exists", "missing")) return false;
  const previous = before.at(-2);
  return previous?.kind !== "op" || previous.text === "&&" || previous.text === "||";
}

function fieldBefore(before: readonly Token[]): Token | undefined {
  for (let i = before.length - 1; i > 0; i--) {
    const { kind } = before[i];
    if (kind === "op" || isKeyword(before[i], "in")) {
      const name = before[i - 1];
      return isKeyword(name, "not") ? before[i - 2] : name;
    }
  }
  return undefined;
}

function fieldOptions(fields: readonly Field[]): Option[] {
  return [...fields, ...RUN_FIELDS].map(({ path, kinds, min, max }) => ({
    text: `${quoted(path)} `,
    label: path,
    hint:
      typeof min === "number" && typeof max === "number" && min < max
        ? `${short(min)} … ${short(max)}`
        : kinds.join(", "),
  }));
}

const AGES = [
  ["-1h", "1 hour ago"],
  ["-1d", "1 day ago"],
  ["-7d", "7 days ago"],
  ["-30d", "30 days ago"],
] as const;

const short = (value: number) => String(Number(value.toPrecision(3)));

function valueOptions(field: Field | undefined): Option[] {
  if (field?.kinds.includes("time")) {
    return AGES.map(([text, hint]) => option(text, hint));
  }
  const values = field?.values ?? (field?.kinds.includes("boolean") ? [true, false] : []);
  return values.map((value) => {
    const text = typeof value === "string" ? quoted(value) : String(value);
    return { text: `${text} `, label: String(value), hint: "" };
  });
}

const option = (text: string, hint: string): Option => ({ text: `${text} `, label: text, hint });

const JOINERS = [option("and", "both conditions"), option("or", "either condition")];
const EQUALS = [option("=", "is"), option("!=", "is not")];
const SIZES = [
  option(">", "greater than"),
  option("<", "less than"),
  option(">=", "at least"),
  option("<=", "at most"),
];
const TEXTS = [option("~", "matches a regular expression"), option("!~", "does not match")];
const SETS = [
  option("in [", "one of"),
  option("exists", "has a value"),
  option("missing", "has no value"),
];

function operatorOptions(field: Field | undefined): Option[] {
  const kinds = field?.kinds ?? [];
  const isText = kinds.length > 0 && kinds.every((kind) => kind === "string");
  if (isText) return [...EQUALS, ...TEXTS, ...SETS];
  if (kinds.includes("time")) return SIZES;
  return kinds.includes("number")
    ? [...SIZES, ...EQUALS, ...SETS]
    : [...EQUALS, ...SIZES, ...TEXTS, ...SETS];
}
