"""Is this checkout slower than another one under load? Quicker than `benchmarks.compare`.

    python -m benchmarks.compare_running ../before --only P1,P3,P4,P5,P6,P7 --pairs 10

For each suite an installation of each checkout is started, and of P7 filled with the same points, once:
this takes most of a suite's time. Both run side by side. In each pair everything is measured on one while
the other rests, in alternating order.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from benchmarks import charts, gateway, ingest
from benchmarks.chart_data import fill
from benchmarks.compare import HERE, Comparison, options, print_comparisons, python_path
from benchmarks.generate import Shape
from benchmarks.native import logged_by_one_client
from benchmarks.stack import Stack, running
from benchmarks.sweep import cores_used

__all__ = ["compare"]

Speeds = dict[str, float]
"""More is better."""


def _fill_charts(stack: Stack) -> None:
    uvloop.run(fill(stack, charts.CASES))


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two checkouts, and its installation."""

    stack: Stack
    settings: dict[str, str]
    """Of processes that run its code."""


def _client(side: Side, pair: int, seconds: float) -> Speeds:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "client.json"
        script = HERE / "benchmarks" / "client_log.py"
        command = [sys.executable, str(script), "--quick", "--only", "log,cpu", "--json", str(path)]
        environ = {**os.environ, **side.settings}
        subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
        results = json.loads(path.read_text())["results"]
    return {
        each["what"]: 1 / (each["p50_us"] if "p50_us" in each else each["us_per_point"])
        for each in results
    }


def _end_to_end(side: Side, pair: int, seconds: float) -> Speeds:
    found = {}
    for number, (name, shape) in enumerate(ingest.SHAPES):
        new = replace(shape, first_run=1_000 * pair + 100 * number)
        found[f"end to end, batches of {name}"] = ingest.generate_load(
            side.stack, new, seconds
        ).rate
    return found


def _one_client(side: Side, pair: int, seconds: float) -> Speeds:
    found = {}
    for keys in (10, 100, 1_000):
        _, _, rate = logged_by_one_client(side.stack, keys, seconds, side.settings)
        found[f"one native client, {keys:,} keys per call"] = rate
    return found


def _sweep(side: Side, pair: int, seconds: float) -> Speeds:
    shape = Shape(runs=1_000, keys=20, rows=10, first_run=1_000 * pair)
    return {
        "cores saved at 1,000 runs x 20 keys x 10 Hz": 1 / cores_used(side.stack, shape, seconds)[0]
    }


def _gateway(side: Side, pair: int, seconds: float) -> Speeds:
    found = {}
    stack = side.stack
    (worker,) = stack.children["worker"]
    for number, (size, shape) in enumerate(gateway.SIZES):
        new = replace(shape, first_run=1_000 * pair + 100 * number)
        os.kill(worker, signal.SIGSTOP)
        try:
            rate = uvloop.run(gateway.accepted_rate(stack.url, stack.api_key, new, seconds))
        finally:
            os.kill(worker, signal.SIGCONT)
        found[f"one gateway process, batches of {size} KB"] = rate
        asyncio.run(ingest.drained(stack))
    return found


def _charts(side: Side, pair: int, seconds: float) -> Speeds:
    times_s = uvloop.run(charts.median_times(side.stack, charts.CASES))
    return {name: 1 / each for name, each in times_s.items()}


_SUITES: dict[str, Callable[[Side, int, float], Speeds]] = {
    "P1": _client,  # and P2
    "P3": _end_to_end,
    "P4": _one_client,
    "P5": _sweep,
    "P6": _gateway,
    "P7": _charts,
}


def compare(other: Path, suite: str, pairs: int, seconds: float) -> list[Comparison]:
    """Measure both checkouts `pairs` times, or until Ctrl-C."""
    ratios: dict[str, list[float]] = defaultdict(list)
    ours, theirs = ({"PYTHONPATH": python_path(checkout)} for checkout in (HERE, other))
    measure = _SUITES[suite]
    with (
        running(settings=ours) as new_stack,
        running(settings=theirs) as old_stack,
        suppress(KeyboardInterrupt),
    ):
        new, old = Side(new_stack, ours), Side(old_stack, theirs)
        if suite == "P7":
            for stack in (new_stack, old_stack):
                _fill_charts(stack)
        for pair in range(pairs):
            order = (new, old) if pair % 2 else (old, new)
            found = {side.stack.url: measure(side, pair, seconds) for side in order}
            for name, speed in found[new_stack.url].items():
                ratios[name].append(speed / found[old_stack.url][name])
            print(f"  {suite}, pair {pair + 1} of {pairs}", flush=True)
    compared = [Comparison(f"{suite} {name}", each) for name, each in ratios.items()]
    print(*compared, sep="\n", flush=True)
    return compared


def main() -> int:
    given = options("benchmarks.compare_running", __doc__, suites="P1,P3,P4,P5,P6,P7", seconds=2)
    return print_comparisons(
        [
            each
            for suite in given.only.split(",")
            for each in compare(given.other, suite, given.pairs, given.seconds)
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
