import { memo } from "react";
import type { Run } from "../../api/types";
import { pointAt } from "../../state/hover";
import { onlyRuns, withRun } from "../../state/url";
import { routes, view } from "../../state/view";
import { formatAge, formatStep } from "../../util/format";
import { Dot } from "../../widgets/Dot";
import { EyeIcon, EyeOffIcon } from "../../widgets/icons";
import { Link } from "../../widgets/Link";
import { StateIcon } from "../../widgets/StateIcon";

interface Props {
  run: Run;
  /** The series of the run; null: not selected. */
  seriesId: string | null;
  colour: string | undefined;
  isShown: boolean;
  now: number;
  top: number;
}

function describe({ run, name, state, last_step, group, tags }: Run): string {
  const facts = [
    name && name !== run ? `${name} (${run})` : run,
    state,
    last_step !== null && `step ${formatStep(last_step)}`,
    group && `group ${group}`,
    tags?.length > 0 && tags.join(", "),
  ];
  return facts.filter(Boolean).join(" · ");
}

export const RunRow = memo(function RunRow({ run, seriesId, colour, isShown, now, top }: Props) {
  const name = run.name || run.run;
  return (
    <li
      className={isShown ? "run" : "run is-hidden"}
      data-run={run.run}
      data-series={seriesId ?? undefined}
      title={describe(run)}
      style={{ transform: `translateY(${top}px)` }}
      onMouseEnter={() => pointAt(seriesId)}
    >
      <EyeButton run={run} isShown={isShown} />
      <Dot colour={colour} />
      <Link className="run-name" to={routes.run(view.get(), run.run)}>
        {name}
      </Link>
      <button
        type="button"
        className="run-only"
        aria-label={`Show only ${name}`}
        onClick={() => view.select(onlyRuns(view.get().selection, [run.run]))}
      >
        only
      </button>
      <StateIcon state={run.state} />
      <time className="run-age">{formatAge(run.created_at, now)}</time>
    </li>
  );
});

export function EyeButton({ run, isShown }: { run: Run; isShown: boolean }) {
  return (
    <button
      type="button"
      className="run-eye"
      aria-pressed={isShown}
      aria-label={`Show ${run.name || run.run}`}
      onClick={() => view.select(withRun(view.get().selection, run.run, !isShown))}
    >
      {isShown ? <EyeIcon /> : <EyeOffIcon />}
    </button>
  );
}
