/** Tokens of the filter language; pure. */

export type TokenKind = "word" | "text" | "op" | "(" | ")" | "[" | "]" | ",";

export interface Token {
  kind: TokenKind;
  /** Quotes removed. */
  text: string;
  at: number;
  end: number;
  /** The closing quote is missing. */
  isOpen?: boolean;
}

const OPERATORS = /^(?:==|!=|>=|<=|!~|=~|=|>|<|~|&&|\|\|)/;
const WORD = /^[^\s()[\],=<>!~&|"'`]+/;
const QUOTED = /^(["'`])((?:\\.|(?!\1)[^\\])*)(\1)?/;

/** Unknown characters become words, so that the parser can point at them. */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < text.length; ) {
    const rest = text.slice(at);
    const space = /^\s+/.exec(rest);
    if (space) {
      at += space[0].length;
      continue;
    }
    const token = next(rest, at);
    tokens.push(token);
    at = token.end;
  }
  return tokens;
}

function next(rest: string, at: number): Token {
  const mark = rest[0];
  if ("()[],".includes(mark)) {
    return { kind: mark as TokenKind, text: mark, at, end: at + 1 };
  }
  const quoted = QUOTED.exec(rest);
  if (quoted) {
    const [whole, , inner, close] = quoted;
    const text = inner.replace(/\\(.)/g, "$1");
    return { kind: "text", text, at, end: at + whole.length, isOpen: close === undefined };
  }
  const operator = OPERATORS.exec(rest);
  if (operator) return { kind: "op", text: operator[0], at, end: at + operator[0].length };
  const [word = mark] = WORD.exec(rest) ?? [];
  return { kind: "word", text: word, at, end: at + word.length };
}

export function isKeyword(token: Token | undefined, ...words: string[]): boolean {
  return token?.kind === "word" && words.includes(token.text.toLowerCase());
}

/** Quotes a value or path if necessary. */
export function quoted(text: string): string {
  const isPlain =
    WORD.exec(text)?.[0] === text && !/^(and|or|not|in|exists|missing|null)$/i.test(text);
  return isPlain ? text : `"${text.replace(/[\\"]/g, "\\$&")}"`;
}
