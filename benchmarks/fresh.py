"""P8: how long after `log()` the API shows a point, while 100 runs log through the native client.

Each run logs the time beside its metrics. A reader asks for the last value of that key over HTTP
five times a second: each new point counts with its age at that time, which
includes the wait for the next poll. The first seconds of looking, when clients still send once a second,
are counted apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.request import Request, urlopen

import numpy as np

from benchmarks.report import Row
from benchmarks.spools import spool_folder
from benchmarks.stack import Stack, running

__all__ = ["rows", "watch"]

_RUNS, _KEYS, _PROCESSES = 100, 50, 2
_NAMES = [f"p{p}-{i}" for p in range(_PROCESSES) for i in range(_RUNS // _PROCESSES)]
_WARM_S = 5.0
_STEADY_S = 3.0
"""Until every client knows that somebody looks, and sends often."""
_POLLS_PER_S = 5

# One training process: `runs` runs at `rate` calls of `keys` keys per second each, for a while.
_SCRIPT = """
import sys, time, penstock
name, runs, keys, rate, seconds = sys.argv[1], *map(float, sys.argv[2:])
runs = [
    penstock.init(project="bench", id=f"{name}-{i}", reinit="create_new") for i in range(int(runs))
]
row = {f"metric{i}": i / 3 for i in range(int(keys) - 1)}
begun, calls = time.time(), 0
while (now := time.time()) - begun < seconds:
    for run in runs:
        run.log({**row, "logged_at": time.time()})
    calls += 1
    if (ahead := begun + calls / rate - time.time()) > 0:
        time.sleep(ahead)
print(calls * len(runs) * int(keys) / (time.time() - begun))
for run in runs:
    run.finish()
"""


def rows(seconds: float) -> Iterator[Row]:
    """The age at three rates; the target applies to the highest."""
    for points_per_s in (5_000, 50_000, 500_000):
        with (
            running() as stack,
            _training(stack, points_per_s, seconds + _WARM_S + _STEADY_S) as processes,
        ):
            time.sleep(_WARM_S)
            every_s = _RUNS * _KEYS / points_per_s
            first = watch(stack, "bench", _NAMES, every_s, _STEADY_S)
            ages = watch(stack, "bench", _NAMES, every_s, seconds)
            rate = sum(float(process.communicate()[0]) for process in processes)
        p50, p95, p99 = np.percentile(ages, (50, 95, 99))
        is_judged = points_per_s == 500_000
        yield Row(
            "P8",
            f"log() to readable by the API, {_RUNS} runs, {rate:,.0f} points/s, {len(ages):,} points",
            f"p50 {p50:.2f}, p95 {p95:.2f}, p99 {p99:.2f} s",
            "p95 ≤ 1 s" if is_judged else "",
            f"waits by design: client 0.3 s, commit 0.25 to 0.375 s, look 0.2 s; p95 {np.percentile(first, 95):.2f} s "
            f"in the first {_STEADY_S:.0f} s of looking",
            bool(p95 <= 1) if is_judged else None,
        )


@contextmanager
def _training(
    stack: Stack, points_per_s: float, seconds: float
) -> Iterator[list[subprocess.Popen[str]]]:
    with spool_folder() as spool:
        environ = {
            **os.environ,
            "PENSTOCK_BASE_URL": stack.url,
            "PENSTOCK_API_KEY": stack.api_key,
            "PENSTOCK_DIR": str(spool),
            "PENSTOCK_SILENT": "1",
        }
        rate = points_per_s / _RUNS / _KEYS
        processes = [
            subprocess.Popen(
                [
                    sys.executable, "-c", _SCRIPT, f"p{number}",
                    *map(str, (_RUNS // _PROCESSES, _KEYS, rate, seconds)),
                ],
                env=environ,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(_PROCESSES)
        ]  # fmt: skip
        try:
            yield processes
        finally:
            for process in processes:
                process.terminate()
                process.wait(60)


def watch(
    stack: Stack, project: str, runs: Sequence[str], every_s: float, seconds: float
) -> list[float]:
    """The age in seconds of each point when it was first seen; runs log `logged_at` once in `every_s`."""
    body = {"project": project, "runs": list(runs), "keys": ["logged_at"], "buckets": 1}
    request = Request(  # noqa: S310
        f"{stack.url}/v1/charts",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {stack.api_key}", "Content-Type": "application/json"},
    )
    newest: dict[str, float] = {}
    ages: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        begun = time.monotonic()
        with urlopen(request, timeout=30) as reply:  # noqa: S310
            content = json.loads(reply.read())
        now = time.time()
        for series in content["series"]:
            at = series["last"][-1]
            fresh = round((at - newest.get(series["run"], at)) / every_s)
            ages += [now - at + k * every_s for k in range(fresh)]
            newest[series["run"]] = at
        time.sleep(max(0.0, 1 / _POLLS_PER_S - (time.monotonic() - begun)))
    return ages
