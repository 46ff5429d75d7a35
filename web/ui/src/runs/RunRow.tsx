import { memo } from "react";
import type { Run } from "../api/types";
import { EyeIcon, EyeOffIcon } from "../app/icons";
import { formatAge, formatStep } from "../format";
import { pointAtRun } from "../state/hover";
import { toggled } from "../state/url";
import { view } from "../state/view";
import { StateIcon } from "./StateIcon";

interface Props {
  run: Run;
  colour: string;
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

export const RunRow = memo(function RunRow({ run, colour, isShown, now, top }: Props) {
  const name = run.name || run.run;
  return (
    <li
      className={isShown ? "run" : "run is-hidden"}
      data-run={run.run}
      title={describe(run)}
      style={{ transform: `translateY(${top}px)` }}
      onMouseEnter={() => pointAtRun(isShown ? run.run : null)}
    >
      <button
        type="button"
        className="run-toggle"
        aria-pressed={isShown}
        aria-label={`Show ${name}`}
        onClick={() => view.select(toggled(view.get().selection, run.run))}
      >
        <span className="run-eye">{isShown ? <EyeIcon /> : <EyeOffIcon />}</span>
        <svg className="dot" viewBox="0 0 8 8" aria-hidden="true">
          <circle cx="4" cy="4" r="4" fill={colour} />
        </svg>
        <span className="run-name">{name}</span>
      </button>
      <button
        type="button"
        className="run-only"
        aria-label={`Show only ${name}`}
        onClick={() => view.select({ base: "none", except: new Set([run.run]) })}
      >
        only
      </button>
      <StateIcon state={run.state} />
      <time className="run-age">{formatAge(run.created_at, now)}</time>
    </li>
  );
});
