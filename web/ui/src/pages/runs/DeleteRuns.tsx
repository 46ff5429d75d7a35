/** The question before runs are deleted: it names them. */

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
  const what = runs.length === 1 ? "this run" : `${formatStep(runs.length)} runs`;
  const goesOn = runs.filter(({ state }) => state === "running").length;
  const more = runs.length - MAX_NAMED;
  return (
    <Confirm
      title={`Delete ${what}?`}
      action={runs.length === 1 ? "Delete run" : `Delete ${formatStep(runs.length)} runs`}
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
              {last_step === null ? "no points" : `step ${formatStep(last_step)}`}
            </span>
          </li>
        ))}
        {more > 0 && <li className="confirm-more">and {formatStep(more)} more</li>}
      </ul>
      <p>
        Everything logged in {runs.length === 1 ? "it" : "them"} is deleted from{" "}
        <strong>{project.project}</strong>, for everyone and for good.
        {goesOn > 0 &&
          (runs.length === 1
            ? " It is still running: what it logs from now on is not stored."
            : ` ${formatStep(goesOn)} of them still running: what they log is not stored any more.`)}
      </p>
    </Confirm>
  );
}
