import { describe, expect, it } from "vitest";
import type { ConsoleLine } from "../src/api/types";
import { toPieces, toPlain } from "../src/pages/logs/ansi";
import { mergeLines } from "../src/pages/logs/merge";

const ESC = "\u001b";

describe("console text", () => {
  it("is split where colours change", () => {
    const pieces = toPieces(`a${ESC}[31mred${ESC}[1;4m bold${ESC}[0m end`);
    expect(
      pieces.map(({ text, colour, isBold, isUnderlined }) => [text, colour, isBold, isUnderlined]),
    ).toEqual([
      ["a", null, false, false],
      ["red", "red", false, false],
      [" bold", "red", true, true],
      [" end", null, false, false],
    ]);
  });

  it("supports all colour sequences", () => {
    const colour = (codes: string) => toPieces(`${ESC}[${codes}mx`)[0].colour;
    expect(["92", "38;5;2", "38;5;9", "38;5;196", "38;5;244", "38;2;1;2;3"].map(colour)).toEqual([
      "bright-green",
      "green",
      "bright-red",
      "rgb(255 0 0)",
      "rgb(128 128 128)",
      "rgb(1 2 3)",
    ]);
    expect(toPieces(`${ESC}[44;97mx`)[0]).toMatchObject({ ground: "blue", colour: "bright-white" });
    expect(colour("31;39")).toBeNull();
    expect(colour("38")).toBeNull();
  });

  it("drops other escapes and invisible characters", () => {
    expect(toPlain(`${ESC}[2K${ESC}[1Ga${ESC}]0;title\u0007b${ESC}[?25lc\u0008\u0000`)).toBe("abc");
    expect(toPlain("50%\r100%\r")).toBe("100%");
    expect(toPieces("")).toEqual([]);
  });
});

describe("console lines", () => {
  const line = (number: number, text = "", lane = 0): ConsoleLine => ({
    line: number,
    lane,
    stream: "stdout",
    time: null,
    text,
  });

  it("are merged in order, with the newer text of a line", () => {
    const known = [line(1, "a"), line(2, "b"), line(4, "d")];
    const merged = mergeLines(known, [line(2, "B"), line(3, "c"), line(4, "d", 1), line(5, "e")]);
    expect(merged.map(({ line: number, lane, text }) => [number, lane, text])).toEqual([
      [1, 0, "a"],
      [2, 0, "B"],
      [3, 0, "c"],
      [4, 0, "d"],
      [4, 1, "d"],
      [5, 0, "e"],
    ]);
  });

  it("stay the same array if nothing is new", () => {
    const known = [line(1, "a"), line(2, "b")];
    expect(mergeLines(known, [line(2, "b")])).toBe(known);
    expect(mergeLines(known, [])).toBe(known);
    expect(mergeLines([], known)).toEqual(known);
  });
});
