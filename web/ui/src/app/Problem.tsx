import { ApiError } from "../api/http";

/** Says what went wrong and what to do. */
export function Problem({ error, onRetry }: { error: unknown; onRetry(): void }) {
  return (
    <div className="note" role="alert">
      <h2>{error instanceof Error ? error.message : "Something went wrong."}</h2>
      {error instanceof ApiError && error.hint && <p>{error.hint}</p>}
      <button type="button" className="button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}
