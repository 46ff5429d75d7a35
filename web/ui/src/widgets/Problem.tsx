import type { ReactNode } from "react";
import { ApiError } from "../api/http";

interface Props {
  error: unknown;
  onRetry(): void;
  /** Further actions. */
  children?: ReactNode;
}

/** Shows an error and what to do about it. */
export function Problem({ error, onRetry, children }: Props) {
  // Retrying does not help if the resource does not exist.
  const isMissing = error instanceof ApiError && (error.status === 404 || error.status === 410);
  return (
    <div className="note" role="alert">
      <h2>{error instanceof Error ? error.message : "Something went wrong."}</h2>
      {error instanceof ApiError && error.hint && !isMissing && <p>{error.hint}</p>}
      {!isMissing && (
        <button type="button" className="button" onClick={onRetry}>
          Try again
        </button>
      )}
      {children}
    </div>
  );
}
