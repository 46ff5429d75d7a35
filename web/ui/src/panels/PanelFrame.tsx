/** What all panels share: the frame, the head with title and actions, and what the keyboard focuses. */

import { useRef } from "react";
import { useView, view } from "../state/view";
import { CloseIcon, ExpandIcon, PinIcon } from "../widgets/icons";
import type { Panel, PanelKind } from "./model/panel";
import { splitKey } from "./model/sections";

interface Props {
  panel: Panel;
  /** Of the panel. */
  kind: PanelKind;
  isFull?: boolean;
}

export function PanelFrame({ panel, kind, isFull = false }: Props) {
  const value = useRef<HTMLSpanElement>(null);
  const [name] = panel.keys;
  const { Body, Actions, Controls, height } = kind;
  return (
    <article
      className={isFull ? "panel is-full" : "panel"}
      style={isFull ? undefined : { height }}
      data-panel={name}
      aria-label={name}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: panels handle the keys f, l and p
      tabIndex={0}
    >
      <header className="panel-head">
        <Title name={name} />
        <span ref={value} className="panel-value" />
        {Controls && <Controls panel={panel} isFull={isFull} />}
        <div className="panel-actions">
          <PinButton name={name} />
          {Actions && <Actions panel={panel} isFull={isFull} />}
          <FullScreenButton name={name} isFull={isFull} />
        </div>
      </header>
      <Body panel={panel} isFull={isFull} value={value} />
    </article>
  );
}

function Title({ name }: { name: string }) {
  const [prefix, rest] = splitKey(name);
  return (
    <h3 className="panel-title" title={name}>
      {prefix && <span className="panel-prefix">{name.slice(0, -rest.length)}</span>}
      {rest}
    </h3>
  );
}

function PinButton({ name }: { name: string }) {
  const isPinned = useView((shown) => shown.pinned.includes(name));
  return (
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
  );
}

function FullScreenButton({ name, isFull }: { name: string; isFull: boolean }) {
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={isFull ? "Close full screen" : `Show ${name} full screen`}
      title={isFull ? "Close (Esc)" : "Full screen (f)"}
      onClick={() => view.open(isFull ? null : name)}
    >
      {isFull ? <CloseIcon /> : <ExpandIcon />}
    </button>
  );
}
