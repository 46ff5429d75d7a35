"""What a worker's chores ask of the store while nothing happens."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.memory_store import MemoryPointStore
from support.memory_worker import KEYS, Bench, running_bench

from penstock_common.process.metrics import WorkerMetrics
from penstock_storage.contracts.interface import Columns, Micros, RunRef
from penstock_workers.batches.known_state import KnownState
from penstock_workers.commits.commit_numbers import CommitNumbers
from penstock_workers.commits.store_clock import StoreClock
from penstock_workers.upkeep import upkeep as upkeep_module
from penstock_workers.upkeep.purger import Purger
from penstock_workers.upkeep.upkeep import Upkeep


class Deleting:
    """A store with one row of each run, which takes some turns to delete it."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_deleting = 0
        self.rows = 1

    async def query(self, sql: str, params: Any = None) -> Columns:
        self.asked += 1
        if "system.mutations" in sql:
            self.is_deleting -= self.is_deleting > 0
            return {"n": np.array([self.is_deleting], "u8")}
        return {"n": np.array([self.rows if "penstock.points " in sql else 0], "u8")}

    async def execute(self, sql: str) -> None:
        assert "DELETE" in sql
        self.rows, self.is_deleting = 0, 4

    async def insert(self, table: str, columns: Columns) -> None:
        assert table == "names"


class CountedStore(MemoryPointStore):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def id_and_clock(self) -> tuple[str, Micros]:
        self.reads += 1
        return await super().id_and_clock()


@pytest.fixture
async def bench(catalog_url: str) -> AsyncIterator[Bench]:
    async with running_bench(catalog_url) as running:
        yield running


async def announce(deleted: Sequence[RunRef], changed: Sequence[RunRef]) -> None:
    pass


async def test_the_purger_asks_the_store_only_while_something_is_deleted(bench: Bench) -> None:
    points: Any = Deleting()
    purger = Purger(bench.catalog, points, SimpleNamespace(), announce, {0: 1}, WorkerMetrics())  # type: ignore[arg-type]
    assert not await purger.turn()
    # Once: the worker before it may have left deletions.
    assert points.asked == 1
    for _ in range(10):
        assert not await purger.turn()
    assert points.asked == 1

    (row,) = (await bench.catalog.ensure_runs([RunRef("team", "demo", "gone")])).values()
    await bench.catalog.delete_runs([row.number], time.time_ns() // 1000)
    turns = 0
    while await purger.turn():
        turns += 1
        assert turns < 20
    assert points.rows == points.is_deleting == 0
    asked = points.asked
    for _ in range(10):
        assert not await purger.turn()
    assert points.asked == asked


async def test_the_store_is_checked_when_it_may_be_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = CountedStore()
    await points.setup()
    clock = StoreClock(bench.redis, KEYS, points, bench.catalog, WorkerMetrics())
    numbers = CommitNumbers()
    parts: Any = SimpleNamespace()
    upkeep = Upkeep(parts, clock, parts, parts, parts, numbers, parts)

    async def is_checked() -> bool:
        before = points.reads
        await upkeep._is_other_store(always=False)
        return points.reads > before

    assert await is_checked()
    assert not await is_checked()
    numbers.next()
    assert await is_checked()
    assert not await is_checked()
    await bench.redis.flushall()
    assert await is_checked()
    assert await bench.redis.get(KEYS.store()) == clock.store.encode()
    assert not await is_checked()
    clock.require_check()
    assert await is_checked()
    assert not await is_checked()
    monkeypatch.setattr(upkeep_module, "_CHECK_S", 0.0)
    numbers.next()
    assert await is_checked()
    assert await is_checked()


async def test_a_clock_goes_on_only_after_a_check(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older copy of the store may have come through the connection that the clock is written on."""
    monkeypatch.setattr(upkeep_module, "_ADVANCE_S", 0.0)
    monkeypatch.setattr(upkeep_module, "_IDLE_ADVANCE_S", 0.0)
    points = CountedStore()
    await points.setup()
    clock = StoreClock(bench.redis, KEYS, points, bench.catalog, WorkerMetrics())

    async def nothing(*_: object) -> list[RunRef]:
        return []

    known = KnownState(bench.catalog, points)
    upkeep = Upkeep(
        known,
        clock,
        SimpleNamespace(epochs={0: 1}),  # type: ignore[arg-type]
        SimpleNamespace(read_heartbeats=nothing, mark_crashed=nothing),  # type: ignore[arg-type]
        SimpleNamespace(announce=nothing, notices=SimpleNamespace(tell=nothing)),  # type: ignore[arg-type]
        CommitNumbers(),
        SimpleNamespace(missing=SimpleNamespace(set=lambda _: None)),  # type: ignore[arg-type]
    )
    for turn in range(1, 4):
        await upkeep._run_once()
        assert points.reads == turn
    store, points._meta["clock"] = clock.store, "5"
    await upkeep._run_once()
    assert clock.store not in ("", store)
    assert known.is_stale
