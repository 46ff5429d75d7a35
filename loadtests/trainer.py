"""A training process that logs through the real client, and the data that it must have logged.

`python -m loadtests.trainer BOARD PLAN` logs until it is stopped or killed. Every value
follows from the plan (seed, run, attempt, step), so the expected contents of the store can be computed
again. The board is a small mapped file: the number of calls of each run that have returned, and the
time of each call, survive a `kill -9` of this process.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["Board", "TrainerPlan", "values"]

_CYCLE = 64
_MOST_CALLS = 1 << 18


@dataclass(frozen=True, slots=True)
class TrainerPlan:
    """`runs` runs in one process, each logging `keys` values per call, `calls_per_s` calls in all.

    `first_step` is where this attempt starts: a script that continues from a checkpoint repeats steps
    of an earlier attempt.
    """

    project: str
    runs: int = 2
    keys: int = 10
    calls_per_s: float = 200.0
    seed: int = 1
    attempt: int = 0
    first_step: int = 0

    @property
    def run_names(self) -> list[str]:
        return [f"train{number}" for number in range(self.runs)]

    @property
    def key_names(self) -> list[str]:
        return [f"train/metric{number}" for number in range(self.keys)]


def values(plan: TrainerPlan, run: int, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The values that this attempt logs, steps x keys."""
    key = [plan.seed << 32 | run, plan.attempt]
    base = np.random.Generator(np.random.Philox(key=key)).random((_CYCLE, plan.keys))
    base[7, 0], base[11, -1] = np.nan, np.inf  # trainings diverge
    return base[steps % _CYCLE] + steps[:, None]


class Board:
    """The memory that a trainer shares with the process that started it."""

    def __init__(self, path: Path, runs: int = 0) -> None:
        """Open a board; create it if `runs` is given."""
        if runs:
            shape = (2 + runs + _MOST_CALLS,)
            self._cells = np.memmap(path, np.int64, "w+", shape=shape)
            self._cells[0] = runs
        else:
            self._cells = np.memmap(path, np.int64, "r+")
        self.runs = int(self._cells[0])
        self.returned = self._cells[2 : 2 + self.runs]
        """How many calls of each run have returned."""
        self.took_ns = self._cells[2 + self.runs :]
        """How long each call took, in the order of calls; 0 for those that were not made."""

    def stop(self) -> None:
        """Ask the trainer to finish its runs and exit."""
        self._cells[1] = 1

    @property
    def is_stopped(self) -> bool:
        return bool(self._cells[1])


def _train(board: Board, plan: TrainerPlan, ready: Path) -> None:
    # Here, so that whoever only computes expected values does not start a client.
    import penstock  # noqa: PLC0415

    runs = [
        penstock.init(project=plan.project, id=name, reinit="create_new") for name in plan.run_names
    ]
    rows = [_rows(plan, number) for number in range(plan.runs)]
    # The spool's folder is named after the writer: that is how the ledger finds this attempt again.
    writers = [run._writer.spool().folder.name for run in runs]
    ready.write_text(json.dumps(writers))
    returned, took_ns = board.returned, board.took_ns
    started, call = time.perf_counter(), 0
    while not board.is_stopped:
        ahead_s = call / plan.calls_per_s - (time.perf_counter() - started)
        if ahead_s > 0:
            time.sleep(ahead_s)
        for _ in range(max(1, round(plan.calls_per_s / 200))):
            number = call % plan.runs
            step, row = next(rows[number])
            begun = time.perf_counter_ns()
            runs[number].log(row, step=step)
            ended = time.perf_counter_ns()
            returned[number] += 1
            took_ns[call % _MOST_CALLS] = ended - begun
            call += 1
    for run in runs:
        run.finish()


def _rows(plan: TrainerPlan, run: int) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, row) for ever."""
    names, step = plan.key_names, plan.first_step
    while True:
        block = values(plan, run, np.arange(step, step + _CYCLE, dtype=np.int64)).tolist()
        for row in block:
            yield step, dict(zip(names, row, strict=True))
            step += 1


def describe(plan: TrainerPlan) -> str:
    """The plan as arguments of this module's process."""
    return json.dumps(asdict(plan))


def main() -> None:
    parser = argparse.ArgumentParser(prog="loadtests.trainer", description=__doc__)
    parser.add_argument("board", type=Path)
    parser.add_argument("plan", type=json.loads)
    arguments = parser.parse_args()
    plan = TrainerPlan(**arguments.plan)
    _train(Board(arguments.board), plan, arguments.board.with_suffix(".writers"))


if __name__ == "__main__":
    main()
