import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { whileVisible } from "../src/util/visible";

const page = Object.assign(new EventTarget(), { visibilityState: "visible" });
const calls: string[] = [];
const start = () => calls.push("start");
const stop = () => calls.push("stop");

function show(state: "visible" | "hidden"): void {
  page.visibilityState = state;
  page.dispatchEvent(new Event("visibilitychange"));
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("document", page);
  page.visibilityState = "visible";
  calls.length = 0;
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("a hidden page stops after a while and starts again when it is shown", () => {
  const end = whileVisible(start, stop);
  show("hidden");
  vi.advanceTimersByTime(4_000);
  expect(calls).toEqual(["start"]);
  vi.advanceTimersByTime(2_000);
  expect(calls).toEqual(["start", "stop"]);
  show("visible");
  expect(calls).toEqual(["start", "stop", "start"]);
  end();
  expect(calls).toEqual(["start", "stop", "start", "stop"]);
});

test("switching tabs back and forth changes nothing", () => {
  const end = whileVisible(start, stop);
  for (let i = 0; i < 5; i++) {
    show("hidden");
    vi.advanceTimersByTime(4_000);
    show("visible");
  }
  vi.advanceTimersByTime(10_000);
  expect(calls).toEqual(["start"]);
  end();
});

test("a page that opens in the background waits until it is shown, and a closed one never starts", () => {
  page.visibilityState = "hidden";
  const end = whileVisible(start, stop);
  vi.advanceTimersByTime(10_000);
  expect(calls).toEqual([]);
  show("visible");
  expect(calls).toEqual(["start"]);
  end();
  show("hidden");
  show("visible");
  vi.advanceTimersByTime(10_000);
  expect(calls).toEqual(["start", "stop"]);
});
