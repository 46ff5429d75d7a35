/** A button that opens a panel below it; Escape or a click outside closes it. */

import { type ReactNode, useEffect, useRef, useState } from "react";

interface Props {
  label: string;
  title?: string;
  className?: string;
  button: ReactNode;
  /** Which edge of the panel is aligned with the button. */
  align?: "left" | "right";
  children: ReactNode | ((close: () => void) => ReactNode);
}

export function Popover({ label, title, className, button, align = "left", children }: Props) {
  const [isOpen, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!isOpen) return;
    const onDown = (event: PointerEvent) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      setOpen(false);
      opener.current?.focus();
    };
    addEventListener("pointerdown", onDown);
    addEventListener("keydown", onKey, true);
    return () => {
      removeEventListener("pointerdown", onDown);
      removeEventListener("keydown", onKey, true);
    };
  }, [isOpen]);
  return (
    <div ref={root} className="popover">
      <button
        ref={opener}
        type="button"
        className={className ?? "icon-button"}
        aria-expanded={isOpen}
        aria-label={label}
        title={title ?? label}
        onClick={() => setOpen(!isOpen)}
      >
        {button}
      </button>
      {isOpen && (
        <div className={`menu is-${align}`}>
          {typeof children === "function" ? children(() => setOpen(false)) : children}
        </div>
      )}
    </div>
  );
}
