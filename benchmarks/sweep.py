"""P5: a sweep's shape. Many runs, 20 keys at 10 Hz, one batch per run and second."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.generate import Shape
from benchmarks.ingest import generate_load
from benchmarks.report import Row
from benchmarks.stack import running

__all__ = ["rows"]


def rows(seconds: float) -> Iterator[Row]:
    """Cores used by all server processes at three numbers of runs."""
    for runs in (100, 1_000, 5_000):
        shape = Shape(runs=runs, keys=20, rows=10)
        with running() as stack:
            # The first two rounds create the runs; what is measured is the steady state after.
            generate_load(stack, shape, 2.0, "--rate", str(runs))
            before, started = stack.cpu_seconds(), time.monotonic()
            result = generate_load(stack, shape, seconds, "--rate", str(runs), "--first", "1000")
            took_s = time.monotonic() - started
            after = stack.cpu_seconds()
        cores = (sum(after.values()) - sum(before.values())) / took_s
        rate = sum(seq - 999 for seq in result.sent.values()) / took_s
        is_judged = runs == 1_000
        yield Row(
            "P5",
            f"{runs:,} runs x 20 keys x 10 Hz, {rate:,.0f} of {runs:,} batches/s kept up",
            f"{cores:.2f} cores",
            "≤ 1 core; 5,000 runs sustained" if is_judged or runs == 5_000 else "",
            "",
            (cores <= 1 if is_judged else rate >= 0.95 * runs) if runs >= 1_000 else None,
        )
