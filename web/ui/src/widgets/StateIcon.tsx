/** The state of a run, as a shape and a colour. */

const SHAPES: Record<string, string> = {
  finished: "m3 6.2 2.1 2.1L9.2 3.8",
  failed: "m3.3 3.3 5.4 5.4M8.7 3.3 3.3 8.7",
  crashed: "M6 2.5v4.2M6 9.3v.1",
  preempting: "M4.3 3.2v5.6M7.7 3.2v5.6",
};

export function StateIcon({ state }: { state: string }) {
  const label = { role: "img", "aria-label": state } as const;
  if (state === "running") return <span className="state is-running" {...label} />;
  const known = SHAPES[state] !== undefined;
  return (
    <svg className={`state is-${known ? state : "other"}`} viewBox="0 0 12 12" {...label}>
      <title>{state}</title>
      {known ? <path d={SHAPES[state]} /> : <circle cx="6" cy="6" r="2.5" />}
    </svg>
  );
}
