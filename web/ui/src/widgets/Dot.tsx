/** The colour of a series; an empty ring if it is not drawn. */
export function Dot({ colour }: { colour: string | undefined }) {
  return (
    <svg className={colour ? "dot" : "dot is-empty"} viewBox="0 0 8 8" aria-hidden="true">
      <circle cx="4" cy="4" r={colour ? 4 : 3} fill={colour ?? "none"} />
    </svg>
  );
}
