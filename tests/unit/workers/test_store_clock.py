"""Whether a store is an older copy of itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.memory_store import MemoryPointStore
from support.memory_worker import KEYS, SHARDS, Bench, running_bench

from penstock_common.process.metrics import WorkerMetrics
from penstock_storage.contracts.interface import Micros
from penstock_workers.commits.store_clock import StoreClock


class SlowStore(MemoryPointStore):
    """Once its clock was read, it takes a while until the answer arrives: if possible until this is done."""

    def __init__(self) -> None:
        super().__init__()
        self.was_read = asyncio.Event()
        self.meanwhile: asyncio.Task[None] | None = None

    async def id_and_clock(self) -> tuple[str, Micros]:
        found = await super().id_and_clock()
        self.was_read.set()
        if self.meanwhile is not None:
            await asyncio.wait({self.meanwhile}, timeout=0.2)
        return found


@pytest.fixture
async def bench(catalog_url: str) -> AsyncIterator[Bench]:
    async with running_bench(catalog_url) as running:
        yield running


async def test_a_clock_that_goes_on_during_a_check_is_no_rollback(bench: Bench) -> None:
    points = SlowStore()
    await points.setup()
    clock = StoreClock(bench.redis, KEYS, points, bench.catalog, WorkerMetrics())
    await clock.check()
    await clock.advance()
    store = clock.store
    for shard in SHARDS:
        await bench.redis.hset(KEYS.dead_seqs(shard), "e/p/r/w", "1,2")
    points.was_read.clear()

    async def advance() -> None:
        await points.was_read.wait()
        await clock.advance()

    async with asyncio.TaskGroup() as tasks:
        points.meanwhile = tasks.create_task(advance())
        checked = tasks.create_task(clock.check())
    assert not checked.result()
    assert clock.store == store
    assert all([await bench.redis.exists(KEYS.dead_seqs(shard)) for shard in SHARDS])


async def test_an_older_copy_gets_a_new_id_and_positions_are_forgotten(bench: Bench) -> None:
    clock = (await bench.new_worker()).clock
    await clock.advance()
    store = clock.store
    await bench.redis.hset(KEYS.committed(3), "e/p/r/w", 7)
    older = MemoryPointStore()
    await older.setup()
    await older.set_clock(5)
    later = StoreClock(bench.redis, KEYS, older, bench.catalog, WorkerMetrics())
    await later.check()
    assert later.store not in ("", store)
    assert not await bench.redis.exists(KEYS.committed(3))
    assert await bench.redis.get(KEYS.store()) == later.store.encode()
