import { describe, expect, it } from "vitest";
import { formatAny, formatCell, formatMeasured } from "../src/util/format";
import { parseJson, toJson, toNumber } from "../src/util/json";

describe("whole numbers of any size", () => {
  it.each([
    ["4611686018427387905"],
    ["9007199254740993"],
    ["-9223372036854775808"],
    ["18446744073709551615"],
    ["1000000000000000000000000000000"],
    ["-1000000000000000000000000000001"],
    ['{"a":[1,{"b":[18446744073709551615]}],"c":"18446744073709551615"}'],
    ['[0.1234567890123456,1.5e+300,"\\"12345678901234567890"]'],
    ['{"12345678901234567890":12345678901234567890}'],
    ['[9007199254740991,-9007199254740991,0,"",null,true]'],
  ])("%s stays as it is", (text) => {
    expect(toJson(parseJson(text))).toBe(text);
  });

  it("are bigints only if a number is not exact", () => {
    expect(parseJson("[9007199254740991,9007199254740992,1e21,0.1234567890123456,-0.0]")).toEqual([
      9007199254740991,
      9007199254740992n,
      1e21,
      0.1234567890123456,
      -0,
    ]);
    expect(toJson({ a: [1, undefined, 2n ** 64n], b: undefined })).toBe(
      '{"a":[1,null,18446744073709551616]}',
    );
    expect(toJson({ a: 2n ** 64n }, 1)).toBe('{\n "a": 18446744073709551616\n}');
  });

  it.each([
    [4611686018427387905n, "4611686018427387905"],
    [-(2n ** 63n), "−9223372036854775808"],
    [1234567890, "1234567890"],
    [9007199254740991, "9007199254740991"],
    [1e21, "1e21"],
    [-0, "−0"],
    [0.1 + 0.2, "0.30000000000000004"],
    [Number.NaN, "NaN"],
    [[1, 2n ** 64n], "[1,18446744073709551616]"],
    [{ ids: [2n ** 64n] }, '{"ids":[18446744073709551616]}'],
    ["Infinity", "Infinity"],
    [null, ""],
  ])("%s is shown as %s", (value, text) => expect(formatAny(value)).toBe(text));

  it.each([
    [4611686018427387905n, "4611686018427387905"],
    [1234567890, "1234567890"],
    [-12345678, "−12345678"],
    [1234, "1,234"],
    [1.5e9 + 0.5, "1.500e9"],
    [0.1 + 0.2, "0.3000"],
    ["a", "a"],
  ])("measured, %s is shown as %s", (value, text) => expect(formatMeasured(value)).toBe(text));

  it("fractions are shortened in cells", () => {
    expect(formatCell(0.1 + 0.2)).toBe("0.3");
    expect(formatCell(4611686018427387905n)).toBe("4611686018427387905");
    expect(formatCell(9007199254740991)).toBe("9007199254740991");
    expect(formatCell("a")).toBe("a");
  });

  it.each([
    ["4611686018427387905", 4611686018427387905n],
    ["-9223372036854775808", -(2n ** 63n)],
    ["+18446744073709551615", 2n ** 64n - 1n],
    ["12", 12],
    ["1e21", 1e21],
    ["", undefined],
    ["1_000", undefined],
    ["a", undefined],
  ])("%j is read as %s", (text, value) => expect(toNumber(text)).toBe(value));
});
