import { ApiError } from "../api/http";

/** Says what went wrong and what to do. */
export function Problem({ error, onRetry }: { error: unknown; onRetry(): void }) {
  const isApi = error instanceof ApiError;
  return (
    <div className="note" role="alert">
      <h2>{isApi ? error.message : "The server does not answer"}</h2>
      <p>{isApi ? error.hint : "Check that penstock up is running, and the network between."}</p>
      <button type="button" className="button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}
