"""P7: how long a chart takes at the HTTP API, and whether every spike is in it.

One real installation is filled over HTTP; then each chart is requested a hundred times, warm, over
its full range and over random ranges of any length, as msgpack; and once right after the
server's restart. Ranges are widened to whole buckets, as the page does, or cut anywhere. With
`--busy`, a million points per second arrive meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiohttp
import msgpack
import numpy as np
import psutil
import uvloop

from benchmarks.chart_data import KEY, PROJECT, SPIKE, Case, fill
from benchmarks.generate import Shape
from benchmarks.machine import describe
from benchmarks.peers import beside_peers
from benchmarks.report import Row, print_table
from benchmarks.stack import Stack, running

__all__ = ["CASES", "median_times", "rows"]

_REQUESTS, _WARM = 100, 5
_BUCKETS = 500
_MOST_TIMES_BUSY = 3.0
_BUSY_SHAPE = Shape(runs=100, keys=50, rows=100)
_BUSY_RATE = 200.0  # batches of 5,000 points per second
_RESTART_S = 30.0

_SEVERAL = [
    Case("16 runs x 1e3", 16, 1_000, 10),
    Case("200 runs x 1e3", 200, 1_000),
    Case("200 runs x 1e5", 200, 100_000, 30),
]


CASES = [
    *(Case(f"one key x {size}", 1, int(float(size)), 20) for size in ("1e4", "1e5", "1e6", "1e7")),
    *_SEVERAL,
]
"""The charts of a short P7."""


def rows(seconds: float) -> Iterator[Row]:
    """As `python -m benchmarks --only P7` shows them: up to 1e7 points, if there is time up to 1e8 and
    while points arrive."""
    has_time = seconds >= 20
    yield from measured(["1e4", "1e5", "1e6", "1e7", *(["1e8"] if has_time else [])], busy=has_time)


def measured(sizes: list[str], *, several: bool = True, busy: bool = False) -> Iterator[Row]:
    """A row for each chart and range."""
    cases = [Case(f"one key x {size}", 1, int(float(size)), 20) for size in sizes]
    if several:
        cases += _SEVERAL
    with running() as stack:
        uvloop.run(fill(stack, cases))
        for case in cases:
            yield from uvloop.run(_rows(stack, case))
        if busy:
            quiet = uvloop.run(_medians(stack, cases))
            with _ingesting(stack):
                loaded = uvloop.run(_medians(stack, cases))
            for case, before, after in zip(cases, quiet, loaded, strict=True):
                yield _busy_row(case, before, after)


async def _rows(stack: Stack, case: Case) -> list[Row]:
    async with _session(stack) as session:
        full = await _times(session, stack, case)
        zoomed = await _times(session, stack, case, _zoom)
        cut = await _times(session, stack, case, _cut)
        floor_s = float(np.median([await _ask_nothing(session, stack) for _ in range(_REQUESTS)]))
    first_s = await _first_after_restart(stack, case)
    floor = f"an answer without a chart (/readyz) p50 {floor_s * 1e3:.1f} ms"
    whole = _row(case, "full range", full)
    return [
        dataclasses.replace(whole, reference=f"{floor}; first after a restart {first_s * 1e3:.0f}"),
        dataclasses.replace(_row(case, "zooms", zoomed), reference=floor),
        dataclasses.replace(_row(case, "zooms cut anywhere", cut), target="", meets=None),
    ]


def _row(case: Case, what: str, times_s: list[float]) -> Row:
    p50, p95 = np.percentile(np.array(times_s) * 1e3, (50, 95))
    target = "" if case.target_ms is None else f"p95 ≤ {case.target_ms:.0f} ms"
    meets = None if case.target_ms is None else bool(p95 <= case.target_ms)
    ours = f"p50 {p50:.1f}, p95 {p95:.1f} ms, least {min(times_s) * 1e3:.1f}; every spike kept"
    return beside_peers(Row("P7", f"{case.name}, {what}", ours, target, "", meets))


def _busy_row(case: Case, before_s: float, after_s: float) -> Row:
    ratio = after_s / before_s
    return Row(
        "P7",
        f"{case.name}, while {_BUSY_RATE * _BUSY_SHAPE.points / 1e6:.0f} M points/s come in",
        f"p50 {after_s * 1e3:.1f} ms, {ratio:.1f} x the {before_s * 1e3:.1f} ms before",
        f"≤ {_MOST_TIMES_BUSY:.0f} x",
        "",
        ratio <= _MOST_TIMES_BUSY,
    )


async def median_times(stack: Stack, cases: list[Case]) -> dict[str, float]:
    """Seconds of each chart, over its full range and over random ones."""
    found = {}
    async with _session(stack) as session:
        for case in cases:
            for what, stretch in (("full range", None), ("zooms", _zoom)):
                times_s = await _times(session, stack, case, stretch)
                found[f"{case.name}, {what}"] = float(np.median(times_s))
    return found


async def _medians(stack: Stack, cases: list[Case]) -> list[float]:
    async with _session(stack) as session:
        return [float(np.median(await _times(session, stack, case))) for case in cases]


async def _times(
    session: aiohttp.ClientSession, stack: Stack, case: Case, stretch: _Stretch | None = None
) -> list[float]:
    rng = random.Random(case.points)
    times_s = []
    for number in range(_WARM + _REQUESTS):
        span = stretch(case, rng) if stretch else None
        took_s = await _ask(session, stack, case, span)
        if number >= _WARM:
            times_s.append(took_s)
    return times_s


_Stretch = Callable[[Case, random.Random], tuple[int, int]]


def _zoom(case: Case, rng: random.Random) -> tuple[int, int]:
    """A range in whole buckets of the width that it will have."""
    low, high = _cut(case, rng)
    width = 1
    while high // width - low // width >= _BUCKETS:
        width *= 2
    return low // width * width, (high // width + 1) * width - 1


def _cut(case: Case, rng: random.Random) -> tuple[int, int]:
    """A range of any length; every other one around the first run's spike."""
    size = math.ceil(math.exp(rng.uniform(math.log(100), math.log(case.points))))
    spike = case.spike_at(case.run_names[0])
    low = rng.randint(spike - size + 1, spike) if rng.random() < 0.5 else rng.randrange(case.points)
    low = max(0, min(low, case.points - size))
    return low, low + size - 1


async def _ask(
    session: aiohttp.ClientSession, stack: Stack, case: Case, span: tuple[int, int] | None
) -> float:
    """Seconds from the request to the last byte; raises if a spike is not in the response."""
    body: dict[str, object] = {"project": PROJECT, "runs": case.run_names, "keys": [KEY]}
    body["buckets"] = _BUCKETS
    low, high = span or (0, case.points - 1)
    if span is not None:
        body |= {"from": low, "to": high}
    started = time.perf_counter()
    async with session.post(f"{stack.url}/v1/charts", json=body) as reply:
        content = await reply.read()
        took_s = time.perf_counter() - started
        reply.raise_for_status()
    series = msgpack.unpackb(content)["series"]
    found = {each["run"]: np.frombuffer(each["max"], "<f8").max() for each in series}
    for run in case.run_names:
        if low <= case.spike_at(run) <= high and found.get(run) != SPIKE:
            raise RuntimeError(f"the spike of {run} is not in the chart of {low} … {high}")
    return took_s


async def _ask_nothing(session: aiohttp.ClientSession, stack: Stack) -> float:
    """Seconds for a response that checks queue, store and catalog."""
    started = time.perf_counter()
    async with session.get(f"{stack.url}/readyz") as reply:
        await reply.read()
    return time.perf_counter() - started


def _session(stack: Stack) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {stack.api_key}", "Accept": "application/msgpack"},
        read_bufsize=2**20,
    )


async def _first_after_restart(stack: Stack, case: Case) -> float:
    """Kill the process that serves charts, wait until it is back, send one request."""
    for child in psutil.Process(stack.pid).children():
        if "penstock_server.gateway" in child.cmdline():
            child.kill()
    async with asyncio.timeout(_RESTART_S), _session(stack) as session:
        while True:
            await asyncio.sleep(0.1)
            try:
                async with session.get(f"{stack.url}/readyz") as reply:
                    if reply.status == 200:
                        return await _ask(session, stack, case, None)
            except aiohttp.ClientError:
                continue


@contextmanager
def _ingesting(stack: Stack) -> Iterator[None]:
    """Other runs log at a steady rate meanwhile."""
    command = [
        sys.executable, "-m", "benchmarks.load", stack.url, "--seconds", "600", "--no-wait",
        "--shape", json.dumps(dataclasses.asdict(_BUSY_SHAPE)), "--rate", str(_BUSY_RATE),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stdin is not None
    process.stdin.write(stack.api_key + "\n")
    process.stdin.flush()
    try:
        time.sleep(3)
        yield
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    """Entry of `python -m benchmarks.charts`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1e4,1e5,1e6", help="points of one key, e.g. 1e4,1e8")
    parser.add_argument("--one-key", action="store_true", help="leave charts of many runs out")
    parser.add_argument("--busy", action="store_true", help="also while points come in")
    arguments = parser.parse_args()
    sizes = [size for size in arguments.sizes.split(",") if size]
    found = []
    for row in measured(sizes, several=not arguments.one_key, busy=arguments.busy):
        print(f"  {row.what}: {row.ours}; {row.reference}", flush=True)
        found.append(row)
    print_table(found, describe())


if __name__ == "__main__":
    main()
