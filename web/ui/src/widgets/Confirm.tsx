/** Asks for confirmation before an action that cannot be undone. Escape or a click outside cancels. */

import { type ReactNode, useEffect, useRef, useState } from "react";

interface Props {
  title: string;
  /** Label of the confirm button. */
  action: string;
  onConfirm(): Promise<void>;
  onClose(): void;
  children: ReactNode;
}

export function Confirm({ title, action, onConfirm, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  useEffect(() => dialog.current?.showModal(), []);
  const confirm = async () => {
    setBusy(true);
    setProblem("");
    try {
      await onConfirm();
      onClose();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : "Something went wrong.");
      setBusy(false);
    }
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes it, as of every dialog
    <dialog
      ref={dialog}
      className="confirm"
      aria-label={title}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <div className="confirm-card">
        <h2>{title}</h2>
        {children}
        {problem && (
          <p className="confirm-problem" role="alert">
            {problem}
          </p>
        )}
        <div className="confirm-buttons">
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="button" className="button is-danger" disabled={isBusy} onClick={confirm}>
            {isBusy ? "Deleting…" : action}
          </button>
        </div>
      </div>
    </dialog>
  );
}
