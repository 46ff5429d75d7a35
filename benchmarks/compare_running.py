"""Is this checkout slower than another one under load? Quicker than `benchmarks.compare`.

    python -m benchmarks.compare_running ../before --only P3,P6,P7 --pairs 10

For each suite an installation of each checkout is started, and of P7 filled with the same points, once:
this takes most of a suite's time. Both run side by side. In each pair everything is measured on one while
the other rests, in alternating order.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import uvloop

from benchmarks import charts, gateway, ingest
from benchmarks.chart_data import fill
from benchmarks.compare import HERE, Comparison, options, print_comparisons, python_path
from benchmarks.stack import Stack, running

__all__ = ["compare"]

Speeds = dict[str, float]
"""More is better."""


def _fill_charts(stack: Stack) -> None:
    uvloop.run(fill(stack, charts.CASES))


def _end_to_end(stack: Stack, pair: int, seconds: float) -> Speeds:
    found = {}
    for number, (name, shape) in enumerate(ingest.SHAPES):
        new = replace(shape, first_run=1_000 * pair + 100 * number)
        found[f"end to end, batches of {name}"] = ingest.generate_load(stack, new, seconds).rate
    return found


def _gateway(stack: Stack, pair: int, seconds: float) -> Speeds:
    found = {}
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


def _charts(stack: Stack, pair: int, seconds: float) -> Speeds:
    times_s = uvloop.run(charts.median_times(stack, charts.CASES))
    return {name: 1 / each for name, each in times_s.items()}


_SUITES: dict[str, Callable[[Stack, int, float], Speeds]] = {
    "P3": _end_to_end,
    "P6": _gateway,
    "P7": _charts,
}


def compare(other: Path, suite: str, pairs: int, seconds: float) -> list[Comparison]:
    """Measure both checkouts `pairs` times, or until Ctrl-C."""
    ratios: dict[str, list[float]] = defaultdict(list)
    ours, theirs = ({"PYTHONPATH": python_path(checkout)} for checkout in (HERE, other))
    measure = _SUITES[suite]
    with (
        running(settings=ours) as new,
        running(settings=theirs) as old,
        suppress(KeyboardInterrupt),
    ):
        if suite == "P7":
            for stack in (new, old):
                _fill_charts(stack)
        for pair in range(pairs):
            order = (new, old) if pair % 2 else (old, new)
            found = {stack.url: measure(stack, pair, seconds) for stack in order}
            for name, speed in found[new.url].items():
                ratios[name].append(speed / found[old.url][name])
            print(f"  {suite}, pair {pair + 1} of {pairs}", flush=True)
    compared = [Comparison(f"{suite} {name}", each) for name, each in ratios.items()]
    print(*compared, sep="\n", flush=True)
    return compared


def main() -> int:
    given = options("benchmarks.compare_running", __doc__, suites="P3,P6,P7", seconds=2)
    return print_comparisons(
        [
            each
            for suite in given.only.split(",")
            for each in compare(given.other, suite, given.pairs, given.seconds)
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
