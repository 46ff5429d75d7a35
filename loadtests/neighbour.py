"""`python -m loadtests.neighbour`: how much a tenant over its quota slows down another one.

Starts a `penstock up` with a quota per project. A quiet project sends all the time, at fixed times; another one sends
50 times its quota in every second window. It prints how late the answers to the quiet one were, alone and beside the flood;
then the ledger of both. Generators and servers share the machine, so the flood's own process has the lowest priority
(`--nice 0` shows the difference).
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from benchmarks import ledger
from benchmarks.compare import python_path
from benchmarks.generate import Shape, WriterPlan
from benchmarks.ingest import drained
from benchmarks.stack import Stack, running

__all__ = ["Window", "percentile", "ratio"]

_QUIET = Shape(runs=30, keys=20, rows=2)
_QUIET_PERIOD_S = 0.2
_FLOOD_KEYS = _FLOOD_ROWS = 100
_SETTLE_S = 1.0
_WARM_S = 5.0


@dataclass(frozen=True, slots=True)
class Window:
    """Seconds until the answer, of all batches that were due in a part of the time."""

    is_alone: bool
    begins_at: float
    ends_at: float

    def of(self, times: Sequence[tuple[float, float]]) -> list[float]:
        """Those of its requests; what was due just after a change does not count."""
        first = self.begins_at + _SETTLE_S
        return [took for due, took in times if first <= due < self.ends_at]


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which this part lies; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def ratio(
    windows: Sequence[Window], times: Sequence[tuple[float, float]], part: float
) -> list[float]:
    """For each pair of windows, beside the flood over alone."""
    alone = [percentile(each.of(times), part) for each in windows if each.is_alone]
    beside = [percentile(each.of(times), part) for each in windows if not each.is_alone]
    return [b / a for a, b in zip(alone, beside, strict=True)]


class _Process:
    """A tenant's process."""

    def __init__(
        self, stack: Stack, kind: str, project: str, shape: Shape, period_s: float, nice: int
    ) -> None:
        command = [
            "nice", "-n", str(nice), sys.executable, "-m", "loadtests.neighbour_load", kind, stack.url,
            "--project", project, "--shape", json.dumps(dataclasses.asdict(shape)), "--period", str(period_s),
        ]  # fmt: skip
        pipe = subprocess.PIPE
        self.project, self.shape = project, shape
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        # Both are pipes, as asked for.
        self._input = cast(IO[str], self._process.stdin)
        self.say(stack.api_key)
        cast(IO[str], self._process.stdout).readline()

    def say(self, word: str) -> None:
        self._input.write(f"{word}\n")
        self._input.flush()

    def end(self) -> dict[str, Any]:
        output, _ = self._process.communicate(timeout=60)
        if self._process.returncode:
            raise RuntimeError(f"a load generator ended with {self._process.returncode}")
        content: dict[str, Any] = json.loads(output)
        return content

    def check(self, stack: Stack, found: dict[str, Any]) -> ledger.Ledger:
        sent = {WriterPlan(run, writer): count for run, writer, count in found["sent"]}
        return asyncio.run(
            ledger.check(stack.store_url, stack.store_token, self.shape, sent, self.project)
        )


@contextmanager
def _installation(quota: float, checkout: Path | None) -> Iterator[Stack]:
    settings = {"PENSTOCK_PROJECT_POINTS_PER_S": str(quota)} if quota else {}
    if checkout is not None:
        settings["PYTHONPATH"] = python_path(checkout)
    with running(settings=settings) as stack:
        yield stack


def _measure(stack: Stack, flood: _Process, pairs: int, seconds: float) -> list[Window]:
    windows, cores = [], {True: dict[str, float](), False: dict[str, float]()}
    time.sleep(_WARM_S)
    for number in range(2 * pairs):
        # alone, beside, beside, alone: what changes over time changes both
        is_alone = number % 4 in (0, 3)
        flood.say("pause" if is_alone else "go")
        begins_at, before = time.monotonic(), stack.cpu_seconds()
        time.sleep(seconds)
        for role, after in stack.cpu_seconds().items():
            used = (after - before[role]) / seconds / pairs
            cores[is_alone][role] = cores[is_alone].get(role, 0.0) + used
        windows.append(Window(is_alone, begins_at, time.monotonic()))
    flood.say("pause")
    for is_alone, by_role in cores.items():
        split = ", ".join(f"{role} {each:.2f}" for role, each in by_role.items())
        print(f"  cores {'alone' if is_alone else 'beside the flood'}: {split}")
    return windows


def _report(windows: list[Window], times: list[tuple[float, float]]) -> float:
    for is_alone in (True, False):
        took = [each for w in windows if w.is_alone == is_alone for each in w.of(times)]
        p50, p90, p99 = (1e3 * percentile(took, part) for part in (0.5, 0.9, 0.99))
        name = "alone" if is_alone else "beside the flood"
        print(
            f"  {name:<17} p50 {p50:6.2f} ms, p90 {p90:6.2f}, p99 {p99:6.2f}; {len(took)} batches"
        )
    found = ratio(windows, times, 0.99)
    middle = statistics.median(found)
    print(
        f"  p99 beside over alone, by pair: {' '.join(f'{each:.2f}' for each in found)}; median {middle:.2f}"
    )
    return middle


def _run(arguments: argparse.Namespace, kind: str, checkout: Path | None) -> bool:
    points = _FLOOD_KEYS * _FLOOD_ROWS
    shape = Shape(
        runs=arguments.connections, keys=_FLOOD_KEYS, rows=_FLOOD_ROWS, seed=2, first_run=50_000
    )
    period_s = arguments.connections * points / (arguments.times * (arguments.quota or 20_000.0))
    text = f"{kind}, {arguments.connections} connections"
    print(f"{text}, generator at nice {arguments.nice}, {checkout or 'this checkout'}", flush=True)
    with _installation(arguments.quota, checkout) as stack:
        quiet = _Process(stack, "quiet", "quiet", _QUIET, _QUIET_PERIOD_S, 0)
        flood = _Process(stack, kind, "flood", shape, period_s, arguments.nice)
        windows = _measure(stack, flood, arguments.pairs, arguments.seconds)
        flooded, found = flood.end(), quiet.end()
        if errors := [*found["errors"], *flooded["errors"]]:
            raise RuntimeError(f"a load generator failed: {errors[0]}")
        asyncio.run(drained(stack))
        _report(windows, found["times"])
        accepted = sum(count for *_, count in flooded["sent"])
        print(
            f"  flood: {accepted} batches accepted, {flooded['refused']} answers refused,"
            f" {flooded['broken']} connections broken; of the quiet one {found['broken']}"
        )
        is_good = not found["refused"]
        for process, content in ((quiet, found), (flood, flooded)):
            result = process.check(stack, content)
            is_good &= result.is_clean
            print(
                f"  ledger, {process.project}: {result}",
                flush=True,
            )
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(prog="loadtests.neighbour", description=__doc__)
    parser.add_argument("--kinds", default="honest,hostile", help="of the flood (%(default)s)")
    parser.add_argument("--pairs", type=int, default=6, help="pairs of windows (%(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of a window (%(default)g)")
    parser.add_argument(
        "--quota", type=float, default=20_000.0, help="points per second and project; 0: none"
    )
    parser.add_argument(
        "--times", type=float, default=50.0, help="its quota that an honest flood has to send"
    )
    parser.add_argument("--connections", type=int, default=6, help="of the flood (%(default)s)")
    parser.add_argument("--nice", type=int, default=19, help="of the flood's process (%(default)s)")
    parser.add_argument(
        "--before", type=Path, help="another checkout, to measure in turn with this one"
    )
    arguments = parser.parse_args()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    checkouts = [None] if arguments.before is None else [arguments.before, None]
    results = [
        _run(arguments, kind, checkout)
        for kind in arguments.kinds.split(",")
        for checkout in checkouts
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
