/** One panel in full screen. Esc or f closes it, arrow keys show the next. */

import { useEffect, useRef } from "react";
import { MediaPanel } from "./media/MediaPanel";
import { Panel } from "./Panel";

interface Props {
  name: string;
  /** Kinds of media, if it is not a metric. */
  kinds: readonly string[] | undefined;
}

export function FullScreen({ name, kinds }: Props) {
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
      {kinds ? <MediaPanel name={name} kinds={kinds} isFull /> : <Panel name={name} isFull />}
    </div>
  );
}
