/** Whether a CSS media query matches. */

import { useSyncExternalStore } from "react";

export const PHONE = "(max-width: 760px)";

export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (listener) => {
      const list = matchMedia(query);
      list.addEventListener("change", listener);
      return () => list.removeEventListener("change", listener);
    },
    () => matchMedia(query).matches,
  );
}
