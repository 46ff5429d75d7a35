export function Loading() {
  return <div className="page-loading" role="status" aria-label="Loading" />;
}
