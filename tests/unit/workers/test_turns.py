"""A worker's turns, with all of its parts, over stores in memory: what is stored, judged, and retried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from support.memory_worker import KEYS, Bench, frame, running_bench

from penstock.errors import Broken, Transient
from penstock_common.process.metrics import WorkerMetrics
from penstock_storage.contracts.interface import Column
from penstock_workers.commits.store_clock import StoreClock
from penstock_workers.shards.queue import Queue
from penstock_workers.worker import Worker

BAD = 666.0


@pytest.fixture
async def bench(catalog_url: str) -> AsyncIterator[Bench]:
    async with running_bench(catalog_url) as running:
        yield running


async def turn(worker: Worker, turns: int = 4) -> None:
    """Some turns of a worker that waits for nothing: whatever it would sleep through has passed."""
    stop = asyncio.Event()
    stop.set()
    for _ in range(turns):
        await worker.turn(stop)


async def test_what_is_queued_is_stored_and_freed(bench: Bench) -> None:
    worker = await bench.compose()
    await turn(worker)
    for seq in (1, 2, 3):
        await bench.append(seq, frames=[frame(seq)])
    await turn(worker)
    assert [seq for _, _, seq in await bench.stored()] == [1, 2, 3]
    assert (await bench.queued(), await bench.committed("e/p/r/w")) == (0, 3)


async def test_the_next_commit_is_prepared_while_the_last_one_is_stored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, may_store, insert = await bench.compose(), asyncio.Event(), bench.points.insert

    async def wait(name: str, columns: Mapping[str, Column]) -> None:
        if name == "points":
            await may_store.wait()
        await insert(name, columns)

    monkeypatch.setattr(bench.points, "insert", wait)
    await bench.append(1, frames=[frame(1)])
    await turn(worker, 1)
    names = bench.points.inserted["names"]
    await bench.append(2, frames=[frame(2, keys=("other",))])
    second = asyncio.create_task(turn(worker, 1))
    async with asyncio.timeout(30):
        # The other key's name is recorded when it is prepared.
        while bench.points.inserted["names"] == names:
            await asyncio.sleep(0)
            assert not second.done()
    assert not await bench.stored()
    assert await bench.queued() == 2
    may_store.set()
    await second
    await turn(worker)
    assert [seq for _, _, seq in await bench.stored()] == [1, 2]


@pytest.mark.parametrize("table", ["points", "applied", "names"])
async def test_a_store_that_fails_costs_only_time(
    bench: Bench, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, failures, insert = await bench.compose(), iter([1, 2]), bench.points.insert

    async def fail(name: str, columns: Mapping[str, Column]) -> None:
        if name == table and next(failures, None):
            raise Transient("away", code="store")
        await insert(name, columns)

    monkeypatch.setattr(bench.points, "insert", fail)
    for seq in (1, 2):
        await bench.append(seq, frames=[frame(seq)])
    await turn(worker, 1)
    await bench.append(3, frames=[frame(3)])
    await turn(worker, 10)
    assert [seq for _, _, seq in await bench.stored()] == [1, 2, 3]
    assert (await bench.queued(), await bench.letters()) == (0, [])
    assert next(failures, None) is None


def has_bad(values: Iterable[float]) -> bool:
    return bool((np.asarray(values) == BAD).any())


async def test_only_the_batch_that_a_store_refuses_becomes_a_dead_letter(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, insert = await bench.compose(max_deliveries=2), bench.points.insert

    async def refuse(name: str, columns: Mapping[str, Any]) -> None:
        if name == "points" and has_bad(columns["v"]):
            raise Broken("no good")
        await insert(name, columns)

    monkeypatch.setattr(bench.points, "insert", refuse)
    for seq in range(1, 9):
        for run in ("r", "other"):
            is_bad = (run, seq) == ("r", 4)
            await bench.append(seq, run=run, frames=[frame(seq, value=BAD if is_bad else 0.5)])
    for _ in range(100):
        await turn(worker, 1)
    assert len(await bench.letters()) == 1
    assert sorted(seq for _, _, seq in await bench.stored()) == sorted(
        [*range(1, 9), *(seq for seq in range(1, 9) if seq != 4)]
    )
    assert await bench.queued() == 0


async def test_refusals_by_a_store_that_takes_nothing_are_not_the_batches_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await bench.compose(max_deliveries=1)
    await bench.append(1, frames=[frame(1)])

    async def refuse(*_: object) -> None:
        raise Broken("no good")

    monkeypatch.setattr(bench.points, "insert", refuse)
    monkeypatch.setattr(bench.points, "set_clock", refuse)
    await turn(worker, 20)
    assert (await bench.queued(), await bench.letters()) == (1, [])
    monkeypatch.undo()
    await turn(worker, 10)
    assert [seq for _, _, seq in await bench.stored()] == [1]


@pytest.mark.parametrize("is_found_by_itself", [False, True])
async def test_what_a_store_lost_during_a_rest_is_stored_when_it_is_sent_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, is_found_by_itself: bool
) -> None:
    """Judged by what was known before the rest, it would be dropped as a repeat. The loss may have been found
    by another worker, or by this one's mender: then its clock knows the new id already."""
    worker = await bench.compose(commit_rest_s=5.0)
    await bench.append(1, frames=[frame(1)])
    await turn(worker)
    assert await bench.queued() == 0

    async def lose(self: Queue, *_: object) -> bool:
        """It is found, and the client sends the batch again."""
        monkeypatch.undo()
        for table in ("points", "batches", "applied", "series", "times"):
            bench.points._database.execute(f'DELETE FROM "{table}"')
        other = StoreClock(bench.redis, KEYS, bench.points, bench.catalog, WorkerMetrics())
        await (worker._holdings._clock if is_found_by_itself else other).renew()
        await bench.append(1, frames=[frame(1)])
        return True

    monkeypatch.setattr(Queue, "wait", lose)
    await worker.turn(asyncio.Event())
    assert not await bench.stored()
    assert await bench.queued() == 1
    await turn(worker)
    assert [seq for _, _, seq in await bench.stored()] == [1]
    assert await bench.queued() == 0
