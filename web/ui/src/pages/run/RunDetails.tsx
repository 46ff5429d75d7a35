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
  "commit",
  "cwd",
  "executable",
  "exit_reason",
  "os",
  "cpus",
  "memory_gib",
  "gpus",
  "launcher",
  "user",
]);

export function Facts({ run }: { run: Run }) {
  const now = useNow(1_000);
  const end = run.state === "running" ? Math.max(now, run.updated_at) : run.updated_at;
  const info = run.info ?? {};
  const facts: [string, unknown][] = [
    ["Created", formatDate(run.created_at)],
    [run.state === "running" ? "Running for" : "Duration", formatDuration(end - run.created_at)],
    ["Steps", run.last_step === null ? null : formatStep(run.last_step)],
    ["ID", run.run],
    ...saidOf(run, "details"),
    ["Host", info.host],
    ["Command", command(info)],
    ["Folder", info.cwd],
    ["Git", git(info)],
    ["Python", [info.python, info.executable].filter(Boolean).join(" · ")],
    ["Machine", machine(info)],
    ["GPUs", gpus(info)],
    ["User", info.user],
    ["Exit code", info.exit_code === 0 ? null : info.exit_code],
    ["Exit reason", info.exit_reason],
    ...launcher(info),
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

function git(info: Record<string, unknown>): string {
  const known = (info.git ?? {}) as Record<string, unknown>;
  const commit = known.commit ?? info.commit;
  const short = typeof commit === "string" ? commit.slice(0, 10) : "";
  const parts = [
    known.branch,
    short && known.dirty ? `${short} with changes` : short,
    known.remote,
  ];
  return parts.filter(Boolean).join(" · ");
}

function machine(info: Record<string, unknown>): string {
  const parts = [
    typeof info.cpus === "number" && `${info.cpus} ${info.cpus === 1 ? "CPU" : "CPUs"}`,
    typeof info.memory_gib === "number" && `${info.memory_gib} GiB`,
    info.os,
  ];
  return parts.filter(Boolean).join(" · ");
}

/** Equal ones are counted. */
function gpus(info: Record<string, unknown>): unknown {
  if (!Array.isArray(info.gpus)) return info.gpus;
  const counts = new Map<string, number>();
  for (const name of info.gpus.map(String)) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count > 1 ? `${count} × ${name}` : name)).join(" · ");
}

/** What the launcher said, each by its variable's name. */
function launcher(info: Record<string, unknown>): [string, unknown][] {
  if (typeof info.launcher !== "object" || info.launcher === null) return [];
  const { kind, ...variables } = info.launcher as Record<string, unknown>;
  return [["Launcher", kind], ...Object.entries(variables)];
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
