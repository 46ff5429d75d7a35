import type { ReactNode } from "react";
import { ApiError } from "../api/http";

interface Props {
  error: unknown;
  onRetry(): void;
  /** Another way on. */
  children?: ReactNode;
}

/** Says what went wrong and what to do. */
export function Problem({ error, onRetry, children }: Props) {
  // What is not there will not be there the next time either.
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
