/** One panel over the whole page. Esc or f closes it, the arrow keys walk on. */

import { useEffect, useRef } from "react";
import { Panel } from "./Panel";

export function FullScreen({ name }: { name: string }) {
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    root.current?.querySelector<HTMLElement>("[data-panel]")?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <div ref={root} className="full" role="dialog" aria-modal="true" aria-label={name}>
      <Panel name={name} isFull />
    </div>
  );
}
