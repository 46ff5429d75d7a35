/** The head of a panel: its title, its value and the actions that all panels have. */

import type { ReactNode, RefObject } from "react";
import { splitKey } from "../charts/keySections";
import { useView, view } from "../state/view";
import { CloseIcon, ExpandIcon, PinIcon } from "./icons";

interface Props {
  name: string;
  isFull: boolean;
  /** Where the panel writes its value. */
  value?: RefObject<HTMLSpanElement | null>;
  /** Between the value and the actions. */
  controls?: ReactNode;
  /** This panel's own actions. */
  children?: ReactNode;
}

export function PanelHead({ name, isFull, value, controls, children }: Props) {
  const isPinned = useView((shown) => shown.pinned.includes(name));
  const [prefix, rest] = splitKey(name);
  return (
    <header className="panel-head">
      <h3 className="panel-title" title={name}>
        {prefix && <span className="panel-prefix">{name.slice(0, -rest.length)}</span>}
        {rest}
      </h3>
      <span ref={value} className="panel-value" />
      {controls}
      <div className="panel-actions">
        <button
          type="button"
          className="icon-button"
          aria-label={`Pin ${name} to the top`}
          aria-pressed={isPinned}
          title={isPinned ? "Unpin" : "Pin to the top"}
          onClick={() => view.togglePin(name)}
        >
          <PinIcon />
        </button>
        {children}
        <button
          type="button"
          className="icon-button"
          aria-label={isFull ? "Close full screen" : `Show ${name} full screen`}
          title={isFull ? "Close (Esc)" : "Full screen (f)"}
          onClick={() => view.open(isFull ? null : name)}
        >
          {isFull ? <CloseIcon /> : <ExpandIcon />}
        </button>
      </div>
    </header>
  );
}
