/** One panel in full screen. Esc or f closes it, arrow keys show the next. */

import { useEffect, useRef } from "react";
import { useView } from "../state/view";
import { type Logged, loggedKey } from "./model/logged";
import { PanelFrame } from "./PanelFrame";
import { registry } from "./registry";

interface Props {
  /** The key whose panel is shown. */
  name: string;
  logged: Logged;
}

export function FullScreen({ name, logged }: Props) {
  const log = useView((shown) => shown.log);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    root.current?.querySelector<HTMLElement>("[data-panel]")?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  const panel = registry.panelOf(loggedKey(name, logged, log));
  return (
    <div ref={root} className="full" role="dialog" aria-modal="true" aria-label={name}>
      <PanelFrame panel={panel} kind={registry.kindOf(panel)} isFull />
    </div>
  );
}
