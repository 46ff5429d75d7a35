"""Scripts that are started as a launcher starts them: by its documented variables, or by torchrun itself."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.ledger import Ledger
from support.scripts import Scripts

__all__ = ["HEAD", "IN_SCRIPT", "PLAIN", "Begun", "Launcher", "begun", "ended", "ranks_of", "slurm"]

HEAD = """
import os, signal, sys, time
import penstock
rank = next((os.environ[n] for n in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK") if n in os.environ), "0")
def begin(**given):
    run = penstock.init(project="p", **given)
    print("began", rank, run.id, run.resumed, run.step, run.name, flush=True)
    return run
"""
PLAIN = f"""{HEAD}
with begin() as run:
    for step in range(3): run.log({{f"a{{rank}}": 1.0}})
"""


@dataclass(frozen=True)
class Begun:
    """What a process said of its run."""

    rank: str
    run: str
    resumed: bool
    step: int
    name: str


@dataclass
class Launcher:
    """Starts scripts as a launcher does."""

    scripts: Scripts
    folder: Path

    def __post_init__(self) -> None:
        for name in [*self.scripts.environment]:
            if name.startswith(("SLURM_", "OMPI_", "PMI", "TORCHELASTIC_", "KUBERNETES_")):
                del self.scripts.environment[name]

    def script(self, code: str) -> str:
        path = self.folder / "train.py"
        path.write_text(code)
        return str(path)

    def start(self, code: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """A process with these variables."""
        return subprocess.Popen(
            [sys.executable, self.script(code), *arguments],
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def together(self, code: str, ranks: list[dict[str, str]]) -> list[Begun]:
        """Processes with these variables, at the same time."""
        started = [self.start(code, **variables) for variables in ranks]
        return [each for process in started for each in begun(ended(process))]

    def torchrun(self, code: str, *options: str, status: int = 0, **variables: str) -> str:
        command = [sys.executable, "-m", "torch.distributed.run", *options, self.script(code)]
        done = subprocess.run(
            command,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        return said

    @property
    def environment(self) -> dict[str, str]:
        return {**self.scripts.environment, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def ended(process: subprocess.Popen[str], status: int = 0) -> str:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == status, said
    return said


def begun(said: str) -> list[Begun]:
    found = []
    for line in said.splitlines():
        _, is_there, words = line.partition("began ")
        if is_there:
            rank, run, resumed, step, name = words.split()
            found.append(Begun(rank, run, resumed == "True", int(step), name))
    return found


def ranks_of(ledger: Ledger) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for batch in ledger.batches():
        found.setdefault(batch.run, set()).add(batch.rank)
    return found


def slurm(rank: int = 0, tasks: int = 1, **others: str) -> dict[str, str]:
    """As srun sets them."""
    return {
        "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_NTASKS": str(tasks), "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), **others,
    }  # fmt: skip


IN_SCRIPT = {"SLURM_JOB_ID": "4711", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
"""What a job's script itself starts."""
