"""P10, P11: what an idle `penstock up` costs, and how long it takes to be ready."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from benchmarks.report import Row
from benchmarks.stack import running

__all__ = ["rows"]

_STARTS = 5
_SETTLE_S = 5.0


def rows(seconds: float) -> Iterator[Row]:
    """Memory of all processes after they have settled, their idle CPU time, and startup times."""
    took_s = []
    for _ in range(_STARTS):
        begun = time.perf_counter()
        with running():
            took_s.append(time.perf_counter() - begun)
    with running() as stack:
        time.sleep(_SETTLE_S)
        before = sum(stack.cpu_seconds().values())
        time.sleep(seconds)
        used = (sum(stack.cpu_seconds().values()) - before) / seconds
        size = stack.pss_bytes() / 2**20
    yield Row(
        "P10",
        "idle `penstock up`, PSS of all processes",
        f"{size:.0f} MiB",
        "≤ 700 MB",
        "",
        size * 2**20 <= 700e6,
    )
    yield Row("P10", "idle `penstock up`, processor", f"{used:.3f} cores")
    yield Row(
        "P11",
        f"`penstock up` ready, of {_STARTS} starts on empty folders (worst {max(took_s):.1f} s)",
        f"{median(took_s):.1f} s",
        "≤ 3 s",
        "",
        median(took_s) <= 3,
    )
