"""P5: the load of a sweep. Many runs, 20 keys at 10 Hz, one batch per run and second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.generate import Shape
from benchmarks.ingest import Result, check, generate_load
from benchmarks.report import Row
from benchmarks.stack import Stack, running

__all__ = ["cores_used", "rows"]

_WARM_S = 6.0


def rows(seconds: float) -> Iterator[Row]:
    """Cores used by all server processes at three numbers of runs."""
    for runs in (100, 1_000, 5_000):
        shape = Shape(runs=runs, keys=20, rows=10)
        with running() as stack:
            cores, result = cores_used(stack, shape, seconds)
            found = check(stack, shape, result)
        rate = result.rate / shape.points
        is_judged = runs == 1_000
        yield Row(
            "P5",
            f"{runs:,} runs x 20 keys x 10 Hz, {rate:,.0f} of {runs:,} batches/s; ledger: {found}",
            f"{cores:.2f} cores",
            "≤ 1 core; 5,000 runs sustained" if is_judged or runs == 5_000 else "",
            "",
            (cores <= 1 if is_judged else rate >= 0.95 * runs) if runs >= 1_000 else None,
        )


def cores_used(stack: Stack, shape: Shape, seconds: float) -> tuple[float, Result]:
    """The cores that all server processes use while each run sends a batch a second, and the load's result."""
    with ThreadPoolExecutor() as pool:
        started_load = threading.Event()
        load = pool.submit(
            partial(generate_load, started=started_load),
            stack, shape, seconds + _WARM_S + 1, "--rate", str(shape.runs),
        )  # fmt: skip
        started_load.wait()
        # The first rounds create the runs; what is measured is the steady state after them.
        time.sleep(_WARM_S)
        before, started = stack.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        after, took_s = stack.cpu_seconds(), time.monotonic() - started
        result = load.result()
    return (sum(after.values()) - sum(before.values())) / took_s, result
