/**
 * Keyboard shortcuts: `/` search panels, `r` search runs, `t` table, `g` group, `s` smoothing; on a panel
 * `f` full screen, `l` log axis, `p` pin, arrow keys for its neighbours; Esc.
 */

import { useEffect } from "react";
import { hover } from "../../state/hover";
import { view } from "../../state/view";

/** Smoothing that `s` turns on. */
const DEFAULT_SMOOTHING = 0.6;

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    target.matches("input:not([type=range], [type=checkbox]), textarea, select")
  );
}

/** Arrow keys belong to the focused slider. */
function isSlider(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input[type=range], [role=separator]");
}

const focused = () => document.activeElement?.closest<HTMLElement>("[data-panel]") ?? null;

function currentPanel(): string | null {
  return view.get().full ?? hover.get().panel ?? focused()?.dataset.panel ?? null;
}

function focusSearch(name: string): boolean {
  const input = document.querySelector<HTMLInputElement>(`input[data-search="${name}"]`);
  input?.select();
  return input !== null;
}

/** In full screen shows the next panel, otherwise focuses the neighbour. */
function move(keys: readonly string[], by: number): boolean {
  const { full } = view.get();
  if (full !== null) {
    const next = keys[keys.indexOf(full) + by];
    if (next !== undefined) view.open(next);
    return true;
  }
  const from = focused();
  if (!from) return false;
  const panels = [...document.querySelectorAll<HTMLElement>("[data-panel]")];
  panels[panels.indexOf(from) + by]?.focus();
  return true;
}

/** Number of panels per row. */
function columns(): number {
  const row = focused()?.parentElement;
  return row?.childElementCount ?? 1;
}

function withPanel(act: (panel: string) => void): boolean {
  const panel = currentPanel();
  if (panel !== null) act(panel);
  return panel !== null;
}

function openGroups(): boolean {
  const button = document.querySelector<HTMLElement>(".group-button");
  button?.click();
  return button !== null;
}

function handleEscape(target: EventTarget | null): void {
  if (isTyping(target)) (target as HTMLElement).blur();
  else if (view.get().full !== null) view.open(null);
}

const ACTIONS: Record<string, (keys: readonly string[]) => boolean> = {
  "/": () => ["panels", "lines", "files"].some(focusSearch),
  r: () => focusSearch("runs"),
  g: openGroups,
  t: () => {
    view.showTable(!view.get().isTable);
    return true;
  },
  s: () => {
    view.smooth(view.get().smoothing > 0 ? 0 : DEFAULT_SMOOTHING);
    return true;
  },
  f: () => withPanel((panel) => view.open(view.get().full === null ? panel : null)),
  l: () => withPanel(view.toggleLog),
  p: () => withPanel(view.togglePin),
  ArrowLeft: (keys) => move(keys, -1),
  ArrowRight: (keys) => move(keys, 1),
  ArrowUp: (keys) => move(keys, -columns()),
  ArrowDown: (keys) => move(keys, columns()),
};

/** `keys`: the keys of the panels, in order. */
export function useKeys(keys: readonly string[]): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const { key, target } = event;
      const isForInput = isTyping(target) || (isSlider(target) && key.startsWith("Arrow"));
      if (key === "Escape") handleEscape(target);
      else if (!isForInput && ACTIONS[key]?.(keys)) event.preventDefault();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [keys]);
}
