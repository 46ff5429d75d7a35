/** Splits console text with ANSI escapes into styled pieces; pure. */

export interface Piece {
  text: string;
  /** A name from `black` to `bright-white`, or a CSS colour; null: the text's own. */
  colour: string | null;
  ground: string | null;
  isBold: boolean;
  isFaint: boolean;
  isItalic: boolean;
  isUnderlined: boolean;
}

type Style = Omit<Piece, "text">;

const PLAIN: Style = {
  colour: null,
  ground: null,
  isBold: false,
  isFaint: false,
  isItalic: false,
  isUnderlined: false,
};

const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

/** Colour sequences, all other control sequences, titles, links, and invisible characters. */
const ESCAPES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: matches escapes
  /\u001b\[([0-9;:]*)m|\u001b\[[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b.|[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f]/g;

/** A line as a terminal shows it: text after a carriage return overwrites the text before. */
export function lastState(line: string): string {
  const text = line.replace(/\r+$/, "");
  return text.slice(text.lastIndexOf("\r") + 1);
}

export function toPieces(line: string): Piece[] {
  const text = lastState(line);
  const pieces: Piece[] = [];
  let style = PLAIN;
  let from = 0;
  const add = (to: number) => {
    if (to > from) pieces.push({ text: text.slice(from, to), ...style });
  };
  for (const found of text.matchAll(ESCAPES)) {
    add(found.index);
    from = found.index + found[0].length;
    if (found[1] !== undefined) style = styled(style, found[1]);
  }
  add(text.length);
  return pieces;
}

/** The text without its escapes. */
export function toPlain(line: string): string {
  return lastState(line).replace(ESCAPES, "");
}

function styled(before: Style, codes: string): Style {
  const numbers = codes === "" ? [0] : codes.split(/[;:]/).map(Number);
  let style = before;
  while (numbers.length > 0) {
    const code = numbers.shift() ?? 0;
    if (code === 38) style = { ...style, colour: extended(numbers) };
    else if (code === 48) style = { ...style, ground: extended(numbers) };
    else style = simple(style, code);
  }
  return style;
}

const SWITCHES: Record<number, Partial<Style>> = {
  1: { isBold: true },
  2: { isFaint: true },
  3: { isItalic: true },
  4: { isUnderlined: true },
  22: { isBold: false, isFaint: false },
  23: { isItalic: false },
  24: { isUnderlined: false },
  39: { colour: null },
  49: { ground: null },
};

function simple(style: Style, code: number): Style {
  if (code === 0) return PLAIN;
  if (SWITCHES[code]) return { ...style, ...SWITCHES[code] };
  const name = NAMES[code % 10];
  if (name === undefined) return style;
  if (code >= 30 && code <= 37) return { ...style, colour: name };
  if (code >= 90 && code <= 97) return { ...style, colour: `bright-${name}` };
  if (code >= 40 && code <= 47) return { ...style, ground: name };
  if (code >= 100 && code <= 107) return { ...style, ground: `bright-${name}` };
  return style;
}

/** `5;n` of 256 colours, or `2;r;g;b`; consumes its numbers. */
function extended(numbers: number[]): string | null {
  const kind = numbers.shift();
  if (kind === 2) {
    const [r = 0, g = 0, b = 0] = numbers.splice(0, 3);
    return `rgb(${r} ${g} ${b})`;
  }
  const index = kind === 5 ? numbers.shift() : undefined;
  return index === undefined ? null : ofPalette(index);
}

function ofPalette(index: number): string | null {
  if (index < 8) return NAMES[index] ?? null;
  if (index < 16) return `bright-${NAMES[index - 8]}`;
  if (index >= 232) {
    const grey = 8 + (index - 232) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const cube = index - 16;
  const level = (value: number) => (value === 0 ? 0 : 55 + value * 40);
  const [r, g, b] = [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(level);
  return `rgb(${r} ${g} ${b})`;
}
