"""P14: reading back a whole run: history as JSON lines, export as Parquet, the first difference of two.

Points are inserted into the store directly, as by a worker's commits: only reading is measured.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import psutil

from benchmarks.report import Row
from benchmarks.stack import Stack, running
from penstock_storage.charts.series import NEVER
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.connect import open_catalog, open_points
from penstock_storage.contracts.interface import Column, RunRef

__all__ = ["rows"]

_COMMIT_POINTS = 1_000_000
_LONG_SECONDS = 20


@dataclass(frozen=True, slots=True)
class _Shape:
    steps: int
    keys: int

    @property
    def points(self) -> int:
        return self.steps * self.keys

    def __str__(self) -> str:
        return f"{self.steps:,} steps x {self.keys:,} keys"


@dataclass(frozen=True, slots=True)
class _Reading:
    seconds: float
    first_s: float
    size_bytes: int
    peak_bytes: int


def rows(seconds: float) -> Iterator[Row]:
    """P14 for a long and a wide run; shorter ones if there is little time."""
    long = _Shape(1_000_000 if seconds >= _LONG_SECONDS else 100_000, 100)
    for shape in (long, _Shape(1_000, 10_000)):
        with running() as stack:
            asyncio.run(_fill(stack, shape, ("a", "b")))
            yield _history(stack, shape)
            yield _export(stack, shape)
            yield _diff(stack, shape)


def _history(stack: Stack, shape: _Shape) -> Row:
    found = _read(stack, "/v1/runs/local/read/a/history")
    rate = shape.points / found.seconds
    return Row(
        "P14",
        f"history, {shape} ({found.size_bytes / 1e6:,.0f} MB of JSON)",
        f"{rate / 1e6:.1f} M points/s, {shape.steps / found.seconds:,.0f} rows/s,"
        f" first row after {found.first_s:.2f} s, gateway at {found.peak_bytes / 1e6:,.0f} MB",
    )


def _export(stack: Stack, shape: _Shape) -> Row:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    connection = _connect(stack)
    begun = time.monotonic()
    connection.request("GET", "/v1/runs/local/read/a/export/parts", headers=headers)
    parts = json.loads(connection.getresponse().read())["parts"]
    size_bytes = 0
    for part in parts:
        query = f"min_step={part['min_step']}&max_step={part['max_step']}"
        size_bytes += _read(stack, f"/v1/runs/local/read/a/export?{query}").size_bytes
    took_s = time.monotonic() - begun
    return Row(
        "P14",
        f"export to Parquet, {shape}, {len(parts)} parts ({size_bytes / 1e6:,.0f} MB)",
        f"{shape.points / took_s / 1e6:.1f} M points/s",
    )


def _diff(stack: Stack, shape: _Shape) -> Row:
    found = _read(stack, "/v1/projects/local/read/diff?runs=a,b")
    return Row("P14", f"first difference of two runs, each {shape}", f"{found.seconds:.1f} s")


def _connect(stack: Stack) -> http.client.HTTPConnection:
    address = urlsplit(stack.url)
    return http.client.HTTPConnection(address.hostname or "", address.port, timeout=600)


def _read(stack: Stack, path: str) -> _Reading:
    """Read a response and discard it, watching the gateway's memory."""
    gateways = [psutil.Process(pid) for pid in stack.children["gateway"]]
    connection = _connect(stack)
    begun = time.monotonic()
    connection.request("GET", path, headers={"Authorization": f"Bearer {stack.api_key}"})
    reply = connection.getresponse()
    assert reply.status == 200, reply.read()
    size_bytes, peak_bytes, first_s = 0, 0, 0.0
    while data := reply.read1(1 << 20):
        first_s = first_s or time.monotonic() - begun
        size_bytes += len(data)
        peak_bytes = max(peak_bytes, *(process.memory_info().rss for process in gateways))
    connection.close()
    return _Reading(time.monotonic() - begun, first_s, size_bytes, peak_bytes)


async def _fill(stack: Stack, shape: _Shape, runs: tuple[str, ...]) -> None:
    """Two runs that are equal except for one point near the end."""
    store = open_points(stack.store_url, stack.store_token)
    catalog = open_catalog(f"sqlite+aiosqlite:///{stack.data / 'catalog.db'}")
    try:
        for run in runs:
            ref = RunRef("local", "read", run)
            row = (await catalog.ensure_runs([ref]))[ref]
            names = [f"train/metric_{number}" for number in range(shape.keys)]
            numbers = await catalog.ensure_keys(row.project_number, names)
            lanes = await catalog.ensure_lanes([(row.number, f"w-{run}", 0, 1)])
            lane = lanes[row.number, f"w-{run}"]
            keys = np.array(sorted(numbers.values()), np.uint32)
            await _fill_run(store, shape, keys, row.number, lane, odd=run != runs[0])
    finally:
        await store.close()
        await catalog.close()


async def _fill_run(
    store: ClickHouse,
    shape: _Shape,
    keys: np.ndarray[tuple[int], np.dtype[np.uint32]],
    run: int,
    lane: int,
    *,
    odd: bool,
) -> None:
    rng = np.random.default_rng(1)
    window = max(1, _COMMIT_POINTS // shape.keys)
    for seq, start in enumerate(range(0, shape.steps, window), 1):
        steps = np.arange(start, min(start + window, shape.steps))
        count = len(steps) * shape.keys
        v = rng.standard_normal(count).round(6)
        if odd and start + window >= shape.steps:
            v[count // 2] += 1
        point = {
            "key": np.repeat(keys, len(steps)), "run": np.full(count, run),
            "lane": np.full(count, lane), "step": np.tile(steps, shape.keys), "v": v,
            "seq": np.full(count, seq),
        }  # fmt: skip
        await store.insert("points", point)
        each = np.ones(len(steps), np.int64)
        t = 1_700_000_000_000_000 + steps * 1_000
        time_of = {"run": each * run, "lane": each * lane, "step": steps, "t": t, "seq": each * seq}
        await store.insert("times", time_of)
    each = np.ones(shape.keys, np.int64)
    series: dict[str, Column] = {
        "run": each * run, "key": keys, "lane": each * lane, "first_step": each * 0,
        "last_step": each * (shape.steps - 1), "kinds": each, "tiered": each * NEVER,
    }  # fmt: skip
    last = (np.ones(shape.keys, np.uint64), np.zeros(shape.keys))
    await store.insert("series", {**series, "last": last})
