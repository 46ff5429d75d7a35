/** Header with the run of the media below it, if a panel shows several runs. */

import type { MediaOfRun } from "../../api/types";
import { usePage } from "../../state/page";
import { formatStep } from "../../util/format";

/** Name and colour of a run. Runs in a group share its colour. */
export function useRunStyle(): (run: string) => { name: string; colour: string | undefined } {
  const { drawn, colours, seriesOf } = usePage();
  return (run) => ({
    name: drawn.find((each) => each.run === run)?.name || run,
    colour: colours.get(seriesOf.get(run) ?? run),
  });
}

interface Props {
  of: MediaOfRun;
  /** The step of the panel; the value of the run may be from an earlier one. */
  step: number | null;
}

export function RunHead({ of, step }: Props) {
  const { drawn } = usePage();
  const styleOf = useRunStyle();
  const own = of.values.at(-1)?.step;
  const isOther = own !== undefined && own !== step;
  if (drawn.length < 2) {
    return isOther ? <p className="media-run-head">from step {formatStep(own)}</p> : null;
  }
  const { name, colour } = styleOf(of.run);
  return (
    <p className="media-run-head" title={name}>
      <svg className="dot" viewBox="0 0 8 8" aria-hidden="true">
        <circle cx="4" cy="4" r="4" fill={colour} />
      </svg>
      <span className="media-run-name">{name}</span>
      {isOther && <span className="count">step {formatStep(own)}</span>}
    </p>
  );
}

/** Note below a panel that has no room for all selected runs. */
export function More({ left }: { left: number }) {
  if (left === 0) return null;
  return <p className="media-more">{left} more selected runs. Open full screen to see more.</p>;
}
