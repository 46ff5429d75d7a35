/** Details of a run: times, host, command, code. */

import type { ReactNode } from "react";
import { saidOf } from "../../api/runFields";
import type { Run } from "../../api/types";
import { useNow } from "../../state/useNow";
import { formatAny, formatStep } from "../../util/format";
import { formatDate, formatDuration } from "../../util/time";

/** Shown elsewhere, or of no interest. */
const HIDDEN = new Set([
  "wandb",
  "exit_code",
  "host",
  "program",
  "python",
  "git",
  "command",
  "args",
]);

export function Facts({ run }: { run: Run }) {
  const now = useNow(1_000);
  const end = run.state === "running" ? Math.max(now, run.updated_at) : run.updated_at;
  const info = run.info ?? {};
  const git = info.git as { commit?: string; remote?: string; branch?: string } | undefined;
  const facts: [string, unknown][] = [
    ["Created", formatDate(run.created_at)],
    [run.state === "running" ? "Running for" : "Duration", formatDuration(end - run.created_at)],
    ["Steps", run.last_step === null ? null : formatStep(run.last_step)],
    ["ID", run.run],
    ...saidOf(run, "details"),
    ["Host", info.host],
    ["Command", command(info)],
    ["Git", git && [git.branch, git.commit?.slice(0, 10), git.remote].filter(Boolean).join(" · ")],
    ["Python", info.python],
    ["Exit code", info.exit_code === 0 ? null : info.exit_code],
    ...Object.entries(info).filter(([name]) => !HIDDEN.has(name)),
  ];
  return (
    <dl className="facts">
      {facts.map(([name, value]) => (
        <Fact key={name} name={name} text={formatAny(value)} />
      ))}
    </dl>
  );
}

function command(info: Record<string, unknown>): unknown {
  const args = Array.isArray(info.args) ? info.args : [];
  return info.command ?? [info.program, ...args].filter(Boolean).join(" ");
}

function Fact({ name, text }: { name: string; text: string }): ReactNode {
  if (text === "") return null;
  return (
    <div>
      <dt>{name}</dt>
      <dd title={text}>{text}</dd>
    </div>
  );
}
