/** A code snippet with a copy button. */

import { useState } from "react";
import { CheckIcon, CopyIcon } from "./icons";

export function Snippet({ text, label }: { text: string; label: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    } catch {
      // No clipboard without HTTPS or localhost; the text can still be selected.
    }
  };
  return (
    <figure className="snippet">
      <figcaption>{label}</figcaption>
      <pre>{text.trimEnd()}</pre>
      <button type="button" className="icon-button" aria-label={`Copy ${label}`} onClick={copy}>
        {isCopied ? <CheckIcon /> : <CopyIcon />}
      </button>
    </figure>
  );
}
