/** Keyboard: `/` search panels, `r` search runs, `f` full screen, `l` log axis, arrows, Esc. */

import { useEffect } from "react";
import { hover } from "../state/hover";
import { view } from "../state/view";

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select");
}

function currentPanel(): string | null {
  const focused = document.activeElement?.closest<HTMLElement>("[data-panel]");
  return view.get().full ?? hover.get().panel ?? focused?.dataset.panel ?? null;
}

function focusSearch(name: string): void {
  document.querySelector<HTMLInputElement>(`input[data-search="${name}"]`)?.select();
}

function walk(keys: readonly string[], by: number): boolean {
  const { full } = view.get();
  if (full === null) return false;
  const next = keys[keys.indexOf(full) + by];
  if (next !== undefined) view.open(next);
  return true;
}

function toggleFull(panel: string | null): void {
  if (panel !== null) view.open(view.get().full === null ? panel : null);
}

function toggleLog(panel: string | null): void {
  if (panel !== null) view.toggleLog(panel);
}

function leave(target: EventTarget | null): void {
  if (isTyping(target)) (target as HTMLElement).blur();
  else if (view.get().full !== null) view.open(null);
}

/** False if the key means nothing here. */
function act(key: string, keys: readonly string[]): boolean {
  switch (key) {
    case "/":
      focusSearch("panels");
      return true;
    case "r":
      focusSearch("runs");
      return true;
    case "f":
      toggleFull(currentPanel());
      return true;
    case "l":
      toggleLog(currentPanel());
      return true;
    case "ArrowLeft":
      return walk(keys, -1);
    case "ArrowRight":
      return walk(keys, 1);
    default:
      return false;
  }
}

export function useKeys(keys: readonly string[]): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (event.key === "Escape") leave(event.target);
      else if (!isTyping(event.target) && act(event.key, keys)) event.preventDefault();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [keys]);
}
