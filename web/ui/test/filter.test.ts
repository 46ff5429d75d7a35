import { describe, expect, it } from "vitest";
import type { Field } from "../src/api/types";
import { compileFilter } from "../src/filter/compile";
import { complete } from "../src/filter/complete";
import { quoted } from "../src/filter/tokens";

const fields: Field[] = [
  { path: "config.lr", kinds: ["number"], runs: 9, min: 0.001, max: 0.1 },
  { path: "config.optimizer.name", kinds: ["string"], runs: 9, values: ["adam", "sgd mom"] },
  { path: "config.amp", kinds: ["boolean"], runs: 9 },
  { path: "config.version", kinds: ["string"], runs: 9 },
  { path: "summary.train/loss", kinds: ["number"], runs: 9 },
];
const NOW = 1_000_000;

function filterOf(text: string): unknown {
  const compiled = compileFilter(text, fields, NOW);
  if ("problem" in compiled) throw new Error(compiled.problem.message);
  return compiled.filter;
}

function problemOf(text: string): [string, number, number] {
  const compiled = compileFilter(text, fields, NOW);
  if (!("problem" in compiled)) throw new Error(`${text} is no problem`);
  const { message, at, end } = compiled.problem;
  return [message, at, end];
}

describe("a filter", () => {
  it("is empty without text", () => {
    expect(filterOf("  ")).toBeNull();
  });

  it("compares", () => {
    expect(filterOf("config.lr > 1e-3")).toEqual({ "config.lr": { $gt: 0.001 } });
    expect(filterOf("state=finished")).toEqual({ state: "finished" });
    expect(filterOf("state != failed")).toEqual({ state: { $ne: "failed" } });
    expect(filterOf("name ~ ^base")).toEqual({ name: { $regex: "^base" } });
    expect(filterOf("name !~ 'a|b'")).toEqual({ $nor: [{ name: { $regex: "a|b" } }] });
    expect(filterOf("lr in [0.1, 0.2]")).toEqual({ "config.lr": { $in: [0.1, 0.2] } });
    expect(filterOf("tags not in [a, b]")).toEqual({ tags: { $nin: ["a", "b"] } });
    expect(filterOf("lr exists")).toEqual({ "config.lr": { $exists: true } });
    expect(filterOf("config.seed = 4611686018427387905")).toEqual({
      "config.seed": 4611686018427387905n,
    });
    expect(filterOf("config.seed in [-9223372036854775808, 7]")).toEqual({
      "config.seed": { $in: [-9223372036854775808n, 7] },
    });
    expect(filterOf("group = null")).toEqual({ group: null });
    expect(filterOf("group != null")).toEqual({ group: { $ne: null } });
    expect(filterOf('group = "null"')).toEqual({ group: "null" });
    expect(filterOf('notes in [null, ""]')).toEqual({ notes: { $in: [null, ""] } });
    expect(filterOf("sweep missing")).toEqual({ sweep: { $exists: false } });
    expect(filterOf("config.x = null")).toEqual({ "config.x": null });
    expect(filterOf("lr missing")).toEqual({ "config.lr": { $exists: false } });
  });

  it("joins; and binds tighter than or", () => {
    const [a, b, c] = [{ "config.lr": 1 }, { state: "x" }, { group: "g" }];
    expect(filterOf("lr=1 and state=x or group=g")).toEqual({ $or: [{ $and: [a, b] }, c] });
    expect(filterOf("lr=1 && (state=x || group=g)")).toEqual({ $and: [a, { $or: [b, c] }] });
    expect(filterOf("lr=1 state=x")).toEqual({ $and: [a, b] });
    expect(filterOf("not lr=1 and state=x")).toEqual({ $and: [{ $nor: [a] }, b] });
  });

  it("finds fields by the end of their path", () => {
    expect(filterOf("optimizer.name = adam")).toEqual({ "config.optimizer.name": "adam" });
    expect(filterOf("train/loss < 1")).toEqual({ "summary.train/loss": { $lt: 1 } });
    expect(filterOf("config.later = 1")).toEqual({ "config.later": 1 });
    // `name` is every run's own.
    expect(filterOf("name = adam")).toEqual({ name: "adam" });
  });

  it("converts values to the type of the field", () => {
    expect(filterOf("amp = true")).toEqual({ "config.amp": true });
    expect(filterOf("version = 12")).toEqual({ "config.version": "12" });
    expect(filterOf("lr = '1'")).toEqual({ "config.lr": "1" });
    expect(filterOf('optimizer.name = "sgd mom"')).toEqual({ "config.optimizer.name": "sgd mom" });
  });

  it("reads times", () => {
    expect(filterOf("created_at > -2h")).toEqual({ created_at: { $gt: NOW - 7_200 } });
    expect(filterOf("created_at > 2026-11-01T00:00Z")).toEqual({
      created_at: { $gt: Date.UTC(2026, 10, 1) / 1000 },
    });
  });

  it("reports errors with their position", () => {
    expect(problemOf("lrr > 1")).toEqual(["Unknown field “lrr”", 0, 3]);
    expect(problemOf("lr >")).toEqual(["Expected a value for lr at the end", 4, 4]);
    expect(problemOf("(lr > 1")[0]).toContain("Expected “)”");
    expect(problemOf("lr > 1 )")).toEqual(["Unexpected “)”", 7, 8]);
    expect(problemOf("created_at > soon")[0]).toContain("is not a date or time");
    for (const text of [
      "lr",
      "and",
      "lr > 1 and",
      "lr in",
      "lr in [",
      "= 3",
      "not",
      '"open',
      "[",
    ]) {
      expect(problemOf(text)[0]).not.toBe("");
    }
  });
});

describe("completion", () => {
  const labels = (text: string) => complete(text, text.length, fields).options.map((o) => o.label);
  const picked = (text: string, label: string) => {
    const { from, to, options } = complete(text, text.length, fields);
    const option = options.find((each) => each.label === label);
    return text.slice(0, from) + option?.text + text.slice(to);
  };

  it("offers fields, operators, values and joiners in context", () => {
    expect(labels("l")[0]).toBe("config.lr");
    expect(labels("")).toContain("state");
    expect(labels("lr ")[0]).toBe(">");
    expect(labels("config.optimizer.name = ")).toEqual(["adam", "sgd mom"]);
    expect(labels("state = fin")).toEqual(["finished"]);
    expect(labels("lr > 1 ")).toEqual(["and", "or"]);
    expect(labels("lr > 1 and sta")).toEqual(["state"]);
    expect(labels("state in [running, f")).toEqual(["finished", "failed"]);
  });

  it("replaces the typed text by the picked option", () => {
    expect(picked("opt", "config.optimizer.name")).toBe("config.optimizer.name ");
    expect(picked("optimizer.name = s", "sgd mom")).toBe('optimizer.name = "sgd mom" ');
  });

  it("quotes ambiguous text", () => {
    expect(["a-b", "a b", "and", 'q"'].map(quoted)).toEqual(["a-b", '"a b"', '"and"', '"q\\""']);
  });
});
