"""Training scripts in separate processes, as a load; and the ledger of the data that they logged.

A `Training` is one or several attempts at the same runs: it can be killed and restarted from a
step that it had passed. No row that `log()` returned for may be missing from the store, whatever
happened to the process that logged it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benchmarks.ledger import Ledger, numbers_of, stored_points

from loadtests.trainer import Board, TrainerPlan, describe, values
from penstock.runs import launch
from penstock.spool.progress import load_progress
from penstock.spool.root import spools_in
from penstock_storage.connect import open_points

__all__ = ["Attempt", "Training", "check_attempts", "shipper_of"]

_START_S = 30.0
_FINISH_S = 90.0


@dataclass(slots=True)
class Attempt:
    """One process: its plan, its writers, and its progress."""

    plan: TrainerPlan
    board: Board
    process: subprocess.Popen[bytes]
    writers: list[str] = field(default_factory=list)
    was_killed: bool = False

    @property
    def points(self) -> int:
        return int(self.board.returned.sum()) * self.plan.keys


class Training:
    """Attempts at the same runs, one after another, with spools below `root`."""

    def __init__(self, folder: Path, root: Path, plan: TrainerPlan, url: str, api_key: str) -> None:
        self.root = root
        self.attempts: list[Attempt] = []
        self._folder = folder
        self._plan = plan
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "WANDB_"))},
            "PENSTOCK_BASE_URL": url,
            "PENSTOCK_API_KEY": api_key,
            "PENSTOCK_CONSOLE": "off",
            "PENSTOCK_FACTS": "off",
            "PENSTOCK_DIR": str(root),
            "PENSTOCK_SILENT": "1",
            "PENSTOCK_SYSTEM_METRICS": "off",
            "XDG_CONFIG_HOME": str(folder / "config"),
        }

    @property
    def now(self) -> Attempt:
        return self.attempts[-1]

    @property
    def points(self) -> int:
        """Points for which `log()` has returned, of all attempts."""
        return sum(attempt.points for attempt in self.attempts)

    def start(self, first_step: int = 0) -> None:
        """Start the next attempt and wait until it logs."""
        number = len(self.attempts)
        plan = replace(self._plan, attempt=number, first_step=first_step)
        path = self._folder / f"{plan.project}-{number}.board"
        board = Board(path, plan.runs)
        command = [sys.executable, "-m", "loadtests.trainer", str(path), describe(plan)]
        root = str(Path(__file__).parents[1])
        process = subprocess.Popen(command, env=self._environ, cwd=root)
        attempt = Attempt(plan, board, process)
        self.attempts.append(attempt)
        deadline = time.monotonic() + _START_S
        while not board.returned.all():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the training script did not start")
            time.sleep(0.01)
        attempt.writers = json.loads(path.with_suffix(".writers").read_text())

    def kill(self) -> None:
        """`kill -9` of the current attempt."""
        self.now.process.kill()
        self.now.process.wait()
        self.now.was_killed = True

    def restart(self, *, back: int) -> None:
        """The next attempt, from a checkpoint a number of steps before the end of the last one."""
        last = self.now.plan.first_step + int(self.now.board.returned.min())
        self.start(max(0, last - back))

    def stop(self, timeout_s: float = _FINISH_S) -> None:
        """Let the current attempt finish its runs."""
        self.now.board.stop()
        self.now.process.wait(timeout_s)

    def is_stored(self) -> bool:
        """Whether the shipper has learnt that everything is in the store."""
        return all(load_progress(folder).done for folder in spools_in(self.root))

    def wait_stored(self, timeout_s: float = _FINISH_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.is_stored():
            if time.monotonic() > deadline:
                raise RuntimeError(f"not everything was stored: {self.left()}")
            time.sleep(0.05)

    def left(self) -> str:
        """The spools that are not done, and why."""
        found = {folder.name[:8]: load_progress(folder) for folder in spools_in(self.root)}
        return "; ".join(f"{name}: {each}" for name, each in found.items() if not each.done)

    def end(self) -> None:
        """Leave no process behind."""
        for attempt in self.attempts:
            if attempt.process.poll() is None:
                attempt.process.kill()
                attempt.process.wait()
        pid = shipper_of(self.root)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


def shipper_of(root: Path) -> int | None:
    """The process that currently ships this root's spools."""
    pid, _ = launch.shipper_of(root)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    return pid if str(root).encode() in command else None


async def check_attempts(store_url: str, token: str, trainings: list[Training]) -> Ledger:
    """Compare every logged value with the store's data under its writer."""
    store = open_points(store_url, token)
    ledger = Ledger()
    try:
        for training in trainings:
            attempts = training.attempts
            keys, runs = await numbers_of(store, attempts[0].plan.project)
            found = await stored_points(store, list(runs.values()))
            held = sum(len(np.asarray(steps)) for steps, _ in found.values())
            before = ledger.points + ledger.phantom + ledger.duplicate
            for attempt in attempts:
                for number in range(attempt.plan.runs):
                    _compare(ledger, attempt, number, found, keys, runs)
            # Points of writers or keys that nobody logged.
            seen = ledger.points + ledger.phantom + ledger.duplicate - before
            ledger.phantom += max(0, held - seen)
    finally:
        await store.close()
    return ledger


def _compare(
    ledger: Ledger,
    attempt: Attempt,
    number: int,
    found: Mapping[tuple[int, str, int], tuple[object, ...]],
    keys: Mapping[str, int],
    runs: Mapping[str, int],
) -> None:
    plan = attempt.plan
    run = runs[plan.run_names[number]]
    returned = int(attempt.board.returned[number])
    for column, name in enumerate(plan.key_names):
        got = found.get((run, attempt.writers[number], keys[name]), ([], []))
        steps, stored = np.asarray(got[0], np.int64), np.asarray(got[1], np.float64)
        # The call during which a process was killed may have stored its row, or not.
        last = plan.first_step + returned
        count = returned + int(attempt.was_killed and last in steps)
        wanted = np.arange(plan.first_step, plan.first_step + count, dtype=np.int64)
        _count(ledger, wanted, values(plan, number, wanted)[:, column], steps, stored)


def _count(
    ledger: Ledger,
    wanted: npt.NDArray[np.int64],
    logged: npt.NDArray[np.float64],
    steps: npt.NDArray[np.int64],
    stored: npt.NDArray[np.float64],
) -> None:
    unique, first = np.unique(steps, return_index=True)
    ledger.points += len(wanted)
    ledger.duplicate += len(steps) - len(unique)
    known = np.isin(wanted, unique)
    ledger.missing += int((~known).sum())
    ledger.phantom += int((~np.isin(unique, wanted)).sum())
    at = first[np.searchsorted(unique, wanted[known])]
    same = stored[at].view(np.int64) == np.ascontiguousarray(logged[known]).view(np.int64)
    ledger.altered += int((~same).sum())
