"""Points for P7, sent as all points are: over HTTP, queue and worker into a real store.

Every run is a random walk in which one spike is planted, at a step that follows from its name."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import aiohttp
import numpy as np

from benchmarks.stack import Stack
from penstock.wire import Batch, Frame, encode_batch, join_batches
from penstock_storage.clickhouse.client import ClickHouse

__all__ = ["KEY", "PROJECT", "SPIKE", "Case", "fill"]

PROJECT, KEY = "charts", "loss"
SPIKE = 1e6
_EPOCH_US = 1_700_000_000_000_000
_ROWS = 100_000
_POINTS_PER_REQUEST = 400_000
_WAIT_S = 300.0
_LEAST_TIERED = 8_192


@dataclass(frozen=True, slots=True)
class Case:
    """Runs of one length, read as one chart; `target_ms` at the 95th percentile."""

    name: str
    runs: int
    points: int
    target_ms: float | None = None

    @property
    def run_names(self) -> list[str]:
        return [f"{self.runs}x{self.points}-{number}" for number in range(self.runs)]

    def spike_at(self, run: str) -> int:
        """The step of a run's spike."""
        return zlib.crc32(run.encode()) % self.points


async def fill(stack: Stack, cases: list[Case]) -> None:
    """Log everything, and return when it is committed and its tiers are built."""
    headers = {"Authorization": f"Bearer {stack.api_key}", "Content-Type": "application/msgpack"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for case in cases:
            for body in _requests(case):
                await _send(session, stack.url, body)
    store = ClickHouse(stack.store_url, token=stack.store_token)
    try:
        await _settled(store, sum(case.runs * case.points for case in cases))
    finally:
        await store.close()


def _requests(case: Case) -> Iterator[bytes]:
    batches: list[bytes] = []
    points = 0
    for run in case.run_names:
        for batch, rows in _batches(case, run):
            batches.append(batch)
            points += rows
            if points >= _POINTS_PER_REQUEST:
                yield join_batches(batches)
                batches, points = [], 0
    if batches:
        yield join_batches(batches)


def _batches(case: Case, run: str) -> Iterator[tuple[bytes, int]]:
    rng = np.random.default_rng(zlib.crc32(run.encode()))
    for seq, start in enumerate(range(0, case.points, _ROWS), 1):
        steps = np.arange(start, min(start + _ROWS, case.points), dtype=np.int64)
        values = np.cumsum(rng.normal(size=len(steps))) * 1e-3
        values[steps == case.spike_at(run)] = SPIKE
        times = _EPOCH_US + steps * 1_000
        frame = Frame([KEY], steps.tobytes(), times.tobytes(), values.tobytes())
        batch = Batch(
            project=PROJECT,
            run=run,
            writer=f"{run}-w",
            seq=seq,
            writer_started=_EPOCH_US,
            rank=0,
            acked=0,
            frames=[frame],
        )
        yield encode_batch(batch), len(steps)


async def _send(session: aiohttp.ClientSession, url: str, body: bytes) -> None:
    while True:
        async with session.post(f"{url}/v1/batches", data=body) as reply:
            if reply.status == 202:
                return
            if reply.status not in (429, 503):
                raise RuntimeError(f"the gateway answered {reply.status}: {await reply.text()}")
        await asyncio.sleep(0.2)


async def _settled(store: ClickHouse, points: int) -> None:
    """Wait until the points are in the store, and long series have tiers to their end."""
    async with asyncio.timeout(_WAIT_S):
        while True:
            found = await store.query(
                "SELECT sum(z - a + 1) AS points, countIf(z - a >= {least:Int64} AND t <= z) AS open"
                " FROM (SELECT min(first_step) AS a, max(last_step) AS z, max(tiered) AS t"
                " FROM penstock.series GROUP BY key, run, lane)",
                {"least": _LEAST_TIERED},
            )
            if int(np.sum(found["points"])) >= points and not np.sum(found["open"]):
                return
            await asyncio.sleep(0.5)
