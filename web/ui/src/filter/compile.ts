/**
 * The filter language: `lr > 1e-3 and (state = running or tags = best)`, compiled to the MongoDB-style
 * filter of the API. Comparisons are joined by and, or, not and parentheses; without an operator they
 * are joined by and. `~` matches a regular expression, `in [a, b]` one of several values, `exists` and
 * `missing` test for a value. `config.` and `summary.` can be omitted if unambiguous. Pure.
 */

import type { Filter } from "../api/queries";
import { RUN_FIELDS } from "../api/runFields";
import type { Field } from "../api/types";
import { toNumber } from "../util/json";
import { isKeyword, type Token, tokenize } from "./tokens";

export interface Problem {
  message: string;
  at: number;
  end: number;
}

export type Compiled = { filter: Filter | null } | { problem: Problem };

const OPERATORS: Record<string, string> = {
  "=": "$eq",
  "==": "$eq",
  "!=": "$ne",
  ">": "$gt",
  ">=": "$gte",
  "<": "$lt",
  "<=": "$lte",
  "~": "$regex",
  "=~": "$regex",
  "!~": "$regex",
};

class FilterError extends Error {
  readonly problem: Problem;

  constructor(message: string, at: number, end: number) {
    super(message);
    this.problem = { message, at, end };
  }
}

export function compileFilter(text: string, fields: readonly Field[], nowS = now()): Compiled {
  if (text.trim() === "") return { filter: null };
  try {
    return { filter: new Parser(text, fields, nowS).parse() };
  } catch (error) {
    if (error instanceof FilterError) return { problem: error.problem };
    throw error;
  }
}

const now = () => Math.floor(Date.now() / 60_000) * 60;

/** The field for a path as typed; undefined if there is none, or more than one. */
export function resolve(typed: string, fields: readonly Field[]): Field | undefined {
  const known = [...RUN_FIELDS, ...fields];
  const exact = known.find(({ path }) => path === typed);
  if (exact) return exact;
  for (const prefix of ["config.", "summary."]) {
    const found = fields.find(({ path }) => path === prefix + typed);
    if (found) return found;
  }
  const ends = fields.filter(({ path }) => path.endsWith(`.${typed}`));
  return ends.length === 1 ? ends[0] : undefined;
}

class Parser {
  private readonly tokens: Token[];
  private readonly text: string;
  private readonly fields: readonly Field[];
  private readonly nowS: number;
  private position = 0;

  constructor(text: string, fields: readonly Field[], nowS: number) {
    this.text = text;
    this.fields = fields;
    this.nowS = nowS;
    this.tokens = tokenize(text);
  }

  parse(): Filter {
    const filter = this.parseOr();
    const left = this.peek();
    if (left) throw new FilterError(`Unexpected “${left.text}”`, left.at, left.end);
    return filter;
  }

  private peek(): Token | undefined {
    return this.tokens[this.position];
  }

  private take(expected: string): Token {
    const token = this.tokens[this.position];
    if (!token)
      throw new FilterError(`Expected ${expected} at the end`, this.text.length, this.text.length);
    this.position += 1;
    return token;
  }

  private skip(isMatch: (token: Token | undefined) => boolean): boolean {
    if (!isMatch(this.peek())) return false;
    this.position += 1;
    return true;
  }

  private parseOr(): Filter {
    const parts = [this.parseAnd()];
    while (this.skip((token) => isKeyword(token, "or") || isOperator(token, "||"))) {
      parts.push(this.parseAnd());
    }
    return parts.length === 1 ? parts[0] : { $or: parts };
  }

  private parseAnd(): Filter {
    const parts = [this.parseTerm()];
    for (;;) {
      const isJoined = this.skip((token) => isKeyword(token, "and") || isOperator(token, "&&"));
      if (!isJoined && !startsComparison(this.peek())) break;
      parts.push(this.parseTerm());
    }
    return parts.length === 1 ? parts[0] : { $and: parts };
  }

  private parseTerm(): Filter {
    if (this.skip((token) => isKeyword(token, "not"))) return { $nor: [this.parseTerm()] };
    const open = this.peek();
    if (!this.skip((token) => token?.kind === "(")) return this.parseComparison();
    const inner = this.parseOr();
    const close = this.take("“)”");
    if (close.kind !== ")") throw new FilterError("Missing “)”", open?.at ?? 0, close.at);
    return inner;
  }

  private parseComparison(): Filter {
    const name = this.take("a field");
    if (name.kind !== "word" && name.kind !== "text") {
      throw new FilterError(`Expected a field before “${name.text}”`, name.at, name.end);
    }
    const field = this.parseField(name);
    if (this.skip((token) => isKeyword(token, "exists")))
      return { [field.path]: { $exists: true } };
    if (this.skip((token) => isKeyword(token, "missing"))) {
      return { [field.path]: { $exists: false } };
    }
    if (this.skip((token) => isKeyword(token, "in"))) {
      return { [field.path]: { $in: this.parseList(field) } };
    }
    const after = this.tokens[this.position + 1];
    if (isKeyword(this.peek(), "not") && isKeyword(after, "in")) {
      this.position += 2;
      return { [field.path]: { $nin: this.parseList(field) } };
    }
    return this.parseOperation(name, field);
  }

  private parseOperation(name: Token, field: Field): Filter {
    const token = this.peek();
    const operator = token?.kind === "op" ? OPERATORS[token.text] : undefined;
    if (!token || !operator) {
      const end = token?.end ?? name.end;
      throw new FilterError(
        `Expected an operator after ${name.text}: = …, > …, ~ … or exists`,
        name.at,
        end,
      );
    }
    this.position += 1;
    const value = this.take(`a value for ${name.text}`);
    if (value.kind !== "word" && value.kind !== "text") {
      throw new FilterError(`Expected a value after “${token.text}”`, token.at, value.end);
    }
    if (operator === "$regex") {
      const match = { [field.path]: { $regex: value.text } };
      return token.text === "!~" ? { $nor: [match] } : match;
    }
    const operand = this.parseValue(value, field);
    return { [field.path]: operator === "$eq" ? operand : { [operator]: operand } };
  }

  private parseField(token: Token): Field {
    const found = resolve(token.text, this.fields);
    if (found) return found;
    // A full path is allowed even if nothing has been logged there yet.
    if (/^(config|summary)\../.test(token.text)) {
      return { path: token.text, kinds: [], runs: 0 };
    }
    throw new FilterError(`Unknown field “${token.text}”`, token.at, token.end);
  }

  private parseList(field: Field): unknown[] {
    const open = this.take("a list such as [a, b]");
    if (open.kind !== "[" && open.kind !== "(") {
      throw new FilterError("“in” needs a list such as [a, b]", open.at, open.end);
    }
    const values: unknown[] = [];
    for (;;) {
      const token = this.take("“]”");
      if (token.kind === "]" || token.kind === ")") return values;
      if (token.kind === ",") continue;
      if (token.kind !== "word" && token.kind !== "text") {
        throw new FilterError(`“${token.text}” is not a value`, token.at, token.end);
      }
      values.push(this.parseValue(token, field));
    }
  }

  private parseValue(token: Token, field: Field): unknown {
    const { text, kind } = token;
    if (field.kinds.includes("time")) return this.parseTime(token);
    if (kind === "word" && /^null$/i.test(text)) return null;
    const isText = field.kinds.length > 0 && field.kinds.every((each) => each === "string");
    if (kind === "text" || isText) return text;
    if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
    return toNumber(text) ?? text;
  }

  /** `2026-11-23`, `2026-11-23T08:00`, `-7d` (before now), or Unix seconds. */
  private parseTime({ text, at, end }: Token): number {
    const ago = /^-?(\d+(?:\.\d+)?)([mhdw])$/.exec(text);
    if (ago) return this.nowS - Number(ago[1]) * SECONDS[ago[2]];
    const number = Number(text);
    const parsed = Number.isNaN(number) ? Date.parse(localDate(text)) / 1000 : number;
    if (Number.isNaN(parsed))
      throw new FilterError(`“${text}” is not a date or time; try 2026-11-23 or -7d`, at, end);
    return parsed;
  }
}

const SECONDS: Record<string, number> = { m: 60, h: 3_600, d: 86_400, w: 604_800 };

/** A date without a time means midnight local time, not UTC. */
const localDate = (text: string) => (/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00` : text);

function isOperator(token: Token | undefined, text: string): boolean {
  return token?.kind === "op" && token.text === text;
}

function startsComparison(token: Token | undefined): boolean {
  if (token?.kind === "(" || token?.kind === "text") return true;
  return token?.kind === "word" && !isKeyword(token, "and", "or");
}
