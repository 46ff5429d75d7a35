"""A worker that has to stop: what is in hand is stored if that takes no longer than it may, and its shards are
free at once, whatever it does not reach any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

import pytest
from support.memory_worker import KEYS, Bench, frame, running_bench

from penstock.error_codes import ErrorCode
from penstock.errors import Transient
from penstock_common.queue.redis_keys import SHARDS
from penstock_storage.contracts.interface import Column
from penstock_workers.upkeep.mender import Mender


@pytest.fixture
async def bench(catalog_url: str) -> AsyncIterator[Bench]:
    async with running_bench(catalog_url) as running:
        yield running


async def held_shards(bench: Bench) -> int:
    return sum([await bench.redis.exists(KEYS.lease(shard)) for shard in range(SHARDS)])


def beside() -> dict[str, Coroutine[Any, Any, None]]:
    """A background task that does nothing."""
    return {"idle": asyncio.sleep(3600)}


class Insert:
    """Inserts of points begin, and end when they may."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_begun, self.may_end = asyncio.Event(), asyncio.Event()
        self._insert = bench.points.insert
        monkeypatch.setattr(bench.points, "insert", self)

    async def __call__(self, name: str, columns: Mapping[str, Column]) -> None:
        if name == "points":
            self.has_begun.set()
            await self.may_end.wait()
        await self._insert(name, columns)


async def stopped_in_a_commit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, drain_s: float, *, ends: bool
) -> None:
    """A worker gets a batch, and has to stop while it stores that."""
    worker, insert, stop = (
        await bench.compose(drain_s=drain_s),
        Insert(bench, monkeypatch),
        asyncio.Event(),
    )
    running = asyncio.create_task(worker.run(stop, beside()))
    await bench.append(1, frames=[frame(1)])
    await asyncio.wait_for(insert.has_begun.wait(), 20)
    assert await held_shards(bench) == SHARDS
    stop.set()
    await asyncio.sleep(0)
    assert not running.done()
    if ends:
        insert.may_end.set()
    await asyncio.wait_for(running, 30)


async def test_the_commit_in_hand_is_finished(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stopped_in_a_commit(bench, monkeypatch, drain_s=30, ends=True)
    assert [seq for _, _, seq in await bench.stored()] == [1]
    assert (await bench.queued(), await bench.committed("e/p/r/w")) == (0, 1)
    assert await held_shards(bench) == 0


async def test_a_commit_that_does_not_end_stays_queued_for_the_next_owner(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stopped_in_a_commit(bench, monkeypatch, drain_s=0.1, ends=False)
    assert (await bench.queued(), await held_shards(bench)) == (1, 0)


async def test_shards_are_free_at_once_though_the_store_is_gone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def note(_: Mender) -> None:
        raise Transient("the store is gone", code=ErrorCode.UNAVAILABLE)

    monkeypatch.setattr(Mender, "note", note)
    worker, stop = await bench.compose(), asyncio.Event()
    running = asyncio.create_task(worker.run(stop, beside()))
    async with asyncio.timeout(20):
        while await held_shards(bench) < SHARDS:
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, 20)
    assert await held_shards(bench) == 0
