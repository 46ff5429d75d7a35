"""The sampler's loop: finds the live runs of a root, measures the node once, and writes a row to each run that is due.

However many runs there are, the cost is bounded: a round writes at most ten rows, those that have waited
longest, 64 runs at a time have system metrics at all, and a run whose processes do nothing gets a row six times
less often, or sixty times on a node with more than ten runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from penstock.spool.bell import Bell
from penstock.system.cgroups import Cgroups, CgroupUse
from penstock.system.gpus import GpuReader, has_gpus
from penstock.system.lane import Lane
from penstock.system.launch import FOLDER
from penstock.system.measured import NodeMeasurement
from penstock.system.membership import Membership, RunOnNode, RunPlace
from penstock.system.node import DiskUsage, LinuxNode
from penstock.system.processes import ProcessTrees, TreeUse
from penstock.system.rows import (
    PREFIX,
    Baseline,
    gpu_values,
    limited,
    memory_values,
    tree_values,
)

__all__ = ["Sampler"]

_MAX_RUNS, _MAX_ROWS = 64, 10
"""Runs with system metrics at a time, and rows in a round."""
_LOOK_S, _LOOK_PER_WRITER_S = 2.0, 0.02
_HURRIED_LOOK_S = 0.2
_MIN_ROUND_S, _MAX_WAIT_S = 0.5, 5.0
_SLACK = 0.25
"""A row may be this fraction of its interval early, so that runs share a round."""
_FRESH_S = 0.4
_FIRST_S = 0.5
"""After a run was found, the first row: what is measured needs two looks."""
_RESTS_BELOW_CORES, _REST_FACTOR = 0.02, 6.0
_MAX_RESTS = 10
"""On a node with more than `_MAX_ROWS` runs, one at rest gets a row so many looks at it apart."""
_MAX_COMPLAINTS = 20
_LAST_ROW_S = 1.0
"""A run that ends within this time of its last row gets no other."""


class _Node(Protocol):
    def measure(self, now: float) -> NodeMeasurement: ...


class _Sampled:
    """One run as it is sampled."""

    def __init__(self, run: RunOnNode) -> None:
        self.run = run
        self.lane: Lane | None = None
        self.baseline = Baseline()
        self.due_at = 0.0
        self.wrote_at = 0.0
        self.rests = 0
        """How often in a row its processes did nothing."""
        self.cpu: tuple[float, float] | None = None
        """CPU seconds of its processes, and when."""


class Sampler:
    """Serves the runs under `root` that ask for the sampler `name`."""

    def __init__(self, root: Path, name: str, *, idle_exit_s: float = 60.0) -> None:
        self.root = root
        self._idle_exit_s = idle_exit_s
        self._membership = Membership(root, name)
        self._bell = Bell(root / FOLDER, f"{name}.bell")
        self._node = _node()
        self._node.measure(time.monotonic())
        self._trees = ProcessTrees()
        self._cgroups = Cgroups()
        self._disks = DiskUsage()
        self._gpus = GpuReader(self._note_gpus) if has_gpus() else None
        self._sampled: dict[RunPlace, _Sampled] = {}
        self._problems: list[str] = []
        self._complaints: set[str] = set()
        self._measured: tuple[float, NodeMeasurement, list[dict[str, Any]]] | None = None
        self._asked_to_leave = False

    def leave(self) -> None:
        """Make `run` return soon. May be called from a signal handler."""
        self._asked_to_leave = True
        self._bell.ring()

    def run(self) -> None:
        """Sample until no run wants it for `idle_exit_s`, or `leave` was called."""
        look_at = hurried_look_at = round_at = 0.0
        worked_at = time.monotonic()
        while not self._asked_to_leave:
            now = time.monotonic()
            if now >= look_at:
                with self._seam():
                    self._look()
                pause_s = self._membership.writers * _LOOK_PER_WRITER_S
                look_at = now + max(_LOOK_S, pause_s)
                # A process may open a thousand runs, and ring for each.
                hurried_look_at = now + max(_HURRIED_LOOK_S, pause_s / 4)
            if now >= round_at:
                round_at = now + self._round(now)
            if self._sampled:
                worked_at = now
            elif now - worked_at >= self._idle_exit_s or not self.root.is_dir():
                break
            due_at = min((each.due_at for each in self._served()), default=look_at)
            wake_at = min(max(due_at, round_at), look_at, now + _MAX_WAIT_S)
            if self._bell.wait(max(0.01, wake_at - now)):
                heard_at = self._listen(time.monotonic())
                look_at = min(look_at, max(heard_at, hurried_look_at))
        for sampled in self._sampled.values():
            if sampled.lane is not None:
                sampled.lane.close()
        if self._gpus is not None:
            self._gpus.close()
        self._bell.close()

    def _served(self) -> islice[_Sampled]:
        """The runs that began first."""
        return islice(self._sampled.values(), _MAX_RUNS)

    def _listen(self, now: float) -> float:
        """Take in what the bell says; returns when to look for runs at the latest."""
        messages = self._bell.heard.decode(errors="replace").splitlines()
        ended = {message.partition(" ")[2] for message in messages if message.startswith("end ")}
        if "new" in messages:
            return now
        if not ended:
            return now + _LOOK_S
        over = [
            each
            for each in self._served()
            if any(meta.writer in ended for meta in each.run.members.values())
            and now - each.wrote_at >= _LAST_ROW_S
        ]
        if over:
            self._write_rows(over, now, is_last=True)
        return now + _MIN_ROUND_S

    def _look(self) -> None:
        for run in self._membership.look():
            if (sampled := self._sampled.pop(run.place, None)) is not None and sampled.lane:
                sampled.lane.close()
        found = [run for run in self._membership.runs.values() if run.place not in self._sampled]
        if found:
            self._trees.look()
        now = time.monotonic()
        for run in found:
            new = self._sampled[run.place] = _Sampled(run)
            new.due_at = now + _FIRST_S
            if len(self._sampled) <= _MAX_RUNS:
                self._values_of_processes(new, now)

    def _round(self, now: float) -> float:
        """Write the rows that are due, if any; returns after how many seconds there may be others."""
        served = list(self._served())
        if not any(now >= each.due_at for each in served):
            return 0.0
        # What is due soon comes along: one look at the node for all of them.
        due = [each for each in served if now >= each.due_at - _SLACK * each.run.interval_s]
        due.sort(key=lambda each: each.due_at)
        self._write_rows(due, now)
        if len(due) <= _MAX_ROWS:
            return _MIN_ROUND_S
        return min(each.run.interval_s for each in due)

    def _write_rows(self, due: list[_Sampled], now: float, *, is_last: bool = False) -> None:
        self._trees.look()
        self._cgroups.look()
        node, gpus = self._measure(now)
        for each in due[:_MAX_ROWS]:
            each.due_at = now + each.run.interval_s
            with self._seam():
                self._write(each, node, gpus, now, is_last=is_last)

    def _measure(self, now: float) -> tuple[NodeMeasurement, list[dict[str, Any]]]:
        """Of the node, which several rounds in a row share."""
        if self._measured is None or now - self._measured[0] >= _FRESH_S:
            node = self._node.measure(now)
            gpus = [] if self._gpus is None else self._gpus.measure()
            self._measured = now, node, gpus
        return self._measured[1], self._measured[2]

    def _write(
        self,
        each: _Sampled,
        node: NodeMeasurement,
        gpus: list[dict[str, Any]],
        now: float,
        *,
        is_last: bool,
    ) -> None:
        if not each.run.members:
            return
        first = each.run.first.pid
        trees, use, values = self._values_of_processes(each, now)
        pids = {pid for tree in trees for pid in tree.pids}
        row = {
            **node.values,
            **each.baseline.since_first(node.totals),
            **memory_values(limited(node, use), sum(tree.rss_bytes for tree in trees)),
            **values,
            **self._pss(trees, now),
            **self._disks.of(self._folders(first), now),
            **gpu_values(gpus, pids),
        }
        is_at_rest = self._rests(each, sum(tree.cpu_s for tree in trees), now)
        is_at_rest = is_at_rest and not any(key.startswith("gpu.process.") for key in row)
        each.rests = each.rests + 1 if is_at_rest else 0
        each.due_at = now + each.run.interval_s * (_REST_FACTOR if is_at_rest else 1.0)
        if is_last or len(self._sampled) <= _MAX_ROWS or each.rests % _MAX_RESTS <= 1:
            self._lane_of(each).append({f"{PREFIX}{key}": value for key, value in row.items()})
            each.wrote_at = now

    def _lane_of(self, each: _Sampled) -> Lane:
        if each.lane is None:
            each.lane = Lane(self.root, each.run)
            for problem in self._problems:
                each.lane.note(problem)
        return each.lane

    def _values_of_processes(
        self, each: _Sampled, now: float
    ) -> tuple[list[TreeUse], CgroupUse, dict[str, float]]:
        members = sorted(each.run.members.values(), key=lambda meta: meta.rank)
        trees = {meta.rank: self._trees.use_of(meta.pid) for meta in members}
        use = self._cgroups.use_of(members[0].pid)
        cpus = _cpus_of(members[0].pid)
        values = tree_values(trees, use, cpus, each.baseline, now)
        return list(trees.values()), use, values

    def _pss(self, trees: list[TreeUse], now: float) -> dict[str, float]:
        found = [self._trees.pss_mb(tree, now, sum(os.times()[:2])) for tree in trees]
        known = [each for each in found if each is not None]
        return {"proc.memory.pssMB": sum(known)} if known and len(known) == len(found) else {}

    @staticmethod
    def _rests(each: _Sampled, cpu_s: float, now: float) -> bool:
        """Whether its processes have done next to nothing since the last row."""
        before, each.cpu = each.cpu, (cpu_s, now)
        if before is None or now - before[1] < 1.0:
            return False
        return (cpu_s - before[0]) / (now - before[1]) < _RESTS_BELOW_CORES

    def _folders(self, pid: int) -> list[str]:
        """Whose disks matter to a run: the machine's, the spool's, and the working folder's."""
        found = ["/", str(self.root)]
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/cwd"))  # noqa: PTH115
        return found

    @contextlib.contextmanager
    def _seam(self) -> Iterator[None]:
        """Between runs: one that cannot be measured must not keep others from it."""
        try:
            yield
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            if what not in self._complaints and len(self._complaints) < _MAX_COMPLAINTS:
                self._complaints.add(what)
                sys.stderr.write(f"{traceback.format_exc()}\n")
                sys.stderr.flush()

    def _note_gpus(self, problem: str) -> None:
        text = f"GPUs are not measured: {problem}"
        self._problems.append(text)
        for each in self._sampled.values():
            if each.lane is not None:
                each.lane.note(text)


def _node() -> _Node:
    if os.path.exists("/proc/stat"):  # noqa: PTH110
        return LinuxNode()
    from penstock.system.portable import PortableNode  # noqa: PLC0415  (psutil is slow to load)

    return PortableNode()


def _cpus_of(pid: int) -> float:
    """How many CPUs a process may run on, apart from its group's limit."""
    with contextlib.suppress(OSError, AttributeError):
        return float(len(os.sched_getaffinity(pid)))
    return float(os.cpu_count() or 1)
