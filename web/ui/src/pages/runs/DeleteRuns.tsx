/** The confirmation dialog for deleting runs; it lists them. */

import { useQueryClient } from "@tanstack/react-query";
import { deleteRuns } from "../../api/edits";
import type { ProjectRef, Run } from "../../api/types";
import { formatStep } from "../../util/format";
import { Confirm } from "../../widgets/Confirm";

const MAX_NAMED = 8;

interface Props {
  project: ProjectRef;
  runs: readonly Pick<Run, "run" | "name" | "last_step" | "state">[];
  onDeleted?(): void;
  onClose(): void;
}

export function DeleteRuns({ project, runs, onDeleted, onClose }: Props) {
  const client = useQueryClient();
  const isOne = runs.length === 1;
  const what = isOne ? "this run" : `${formatStep(runs.length)} runs`;
  const runningCount = runs.filter(({ state }) => state === "running").length;
  const more = runs.length - MAX_NAMED;
  return (
    <Confirm
      title={`Delete ${what}?`}
      action={isOne ? "Delete run" : `Delete ${formatStep(runs.length)} runs`}
      onConfirm={async () => {
        const ids = runs.map(({ run }) => run);
        await deleteRuns(client, project, ids);
        onDeleted?.();
      }}
      onClose={onClose}
    >
      <ul className="confirm-runs">
        {runs.slice(0, MAX_NAMED).map(({ run, name, last_step }) => (
          <li key={run}>
            <strong>{name || run}</strong>
            <span>
              {name && name !== run && `${run} · `}
              {last_step === null ? "no data" : `step ${formatStep(last_step)}`}
            </span>
          </li>
        ))}
        {more > 0 && <li className="confirm-more">and {formatStep(more)} more</li>}
      </ul>
      <p>
        This permanently deletes {isOne ? "the run" : "the runs"} and all logged data from{" "}
        <strong>{project.project}</strong> for all users.
        {runningCount > 0 && stillRunning(runningCount, isOne)}
      </p>
    </Confirm>
  );
}

function stillRunning(count: number, isOne: boolean): string {
  const what = isOne
    ? "The run is still running"
    : `${formatStep(count)} ${count === 1 ? "run is" : "runs are"} still running`;
  return ` ${what}; anything logged from now on is discarded.`;
}
