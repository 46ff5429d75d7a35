/** Light or dark: the system preference, unless the user chose one, which this browser remembers. */

import { createStore, useStore } from "./store";

export type Choice = "system" | "light" | "dark";

const KEY = "penstock.theme";
const query = typeof matchMedia === "undefined" ? null : matchMedia("(prefers-color-scheme: dark)");

function saved(): Choice {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system";
  }
}

const choice = createStore<Choice>("system");
const dark = createStore(false);

function apply(): void {
  const chosen = choice.get();
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  dark.set(chosen === "system" ? (query?.matches ?? false) : chosen === "dark");
}

export function startTheme(): void {
  choice.set(saved());
  query?.addEventListener("change", apply);
  choice.subscribe(apply);
  apply();
}

export function chooseTheme(next: Choice): void {
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Without storage the choice is not remembered.
  }
  choice.set(next);
}

export const useThemeChoice = () => useStore(choice);
export const useDark = () => useStore(dark);
