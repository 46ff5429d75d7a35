"""What a worker knows of runs, series and writers, and what it asks the store for, over stores in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from support.memory_worker import Bench, frame, running_bench

from penstock.errors import Transient
from penstock_common.queue.redis_keys import shard_of
from penstock_storage.contracts.interface import Columns, RunRef
from penstock_workers.batches.series import NEVER
from penstock_workers.shards.queue import NO_ROOM

REF = RunRef("e", "p", "r")
SHARD = shard_of("e/p/r")


@pytest.fixture
async def bench(catalog_url: str) -> AsyncIterator[Bench]:
    async with running_bench(catalog_url) as running:
        yield running


async def test_names_are_handed_out_and_recorded_once(bench: Bench) -> None:
    worker = await bench.new_worker()
    for seq in (1, 2):
        await bench.append(seq, frames=[frame(seq)])
        await bench.append(seq, writer="w2", frames=[frame(seq, keys=("loss", "acc"))])
        await worker.commit()
    # A project, a run, two lanes, two keys.
    assert bench.points.inserted["names"] == 6
    later = await bench.new_worker("later")
    await bench.append(3, frames=[frame(3)])
    await later.commit()
    assert later.known.writers[REF, "w"].lane == worker.known.writers[REF, "w"].lane
    assert later.known.runs[REF].number == worker.known.runs[REF].number
    numbers = [each.known.key_numbers(each.known.runs[REF], ["loss"]) for each in (worker, later)]
    assert numbers[0] == numbers[1]


async def test_a_later_worker_knows_long_series(bench: Bench) -> None:
    await bench.append(1, frames=[frame(*range(5_000)), frame(3, keys=("short",))])
    await (await bench.new_worker()).commit()
    worker = await bench.new_worker("later")
    await bench.append(2, frames=[frame(0, keys=("other",))])
    await worker.read()
    table = worker.known.table
    assert sorted(table.last_step[: len(table)].tolist()) == [NEVER, 4_999]


async def test_unfinished_series_are_met_by_the_owner_of_their_shard(bench: Bench) -> None:
    await bench.append(1, frames=[frame(*range(10_000))])
    await (await bench.new_worker()).commit()
    worker = await bench.new_worker("later")
    await worker.known.resume({shard for shard in range(16) if shard != SHARD})
    assert len(worker.known.table) == 0
    await worker.known.resume({SHARD})
    assert worker.known.table.last_step[:1].tolist() == [9_999]
    assert worker.known.table.shard[:1].tolist() == [SHARD]


async def test_a_late_point_leaves_a_bucket_dirty_for_whoever_comes_next(bench: Bench) -> None:
    worker = await bench.new_worker()
    await bench.append(1, frames=[frame(*range(10_000))])
    await worker.commit()
    table = worker.known.table
    table.tiered[:1] = 8_192  # as if the compactor had built so far
    await bench.append(2, frames=[frame(5)])
    await worker.commit()
    assert bench.points.inserted["dirty"] > 0
    later = await bench.new_worker("later")
    await later.known.resume({SHARD})
    assert later.known.take_late()[1].tolist() == [0]


async def test_a_run_for_which_there_is_no_room_is_set_aside_alone(catalog_url: str) -> None:
    async with running_bench(catalog_url, runs_per_project=1) as bench:
        worker = await bench.new_worker()
        await bench.append(1, frames=[frame(0)])
        await worker.commit()
        await bench.append(1, run="second", frames=[frame(0)])
        await bench.append(2, frames=[frame(1)])
        prepared = await worker.commit()
        assert [reason.startswith(NO_ROOM) for reason in await bench.letters()] == [True]
        assert prepared.beyond
        assert [step for step, _, _ in await bench.stored()] == [0, 1]
        assert await bench.queued() == 0


async def test_keys_for_which_there_is_no_room_are_left_out(catalog_url: str) -> None:
    async with running_bench(catalog_url, keys_per_run=2) as bench:
        worker = await bench.new_worker()
        await bench.append(1, frames=[frame(0, keys=("a", "b", "c"))])
        prepared = await worker.commit()
        assert prepared.points == 2
        row = await bench.catalog.run(REF)
        assert row is not None
        assert row.info["left_out"] == {"values": 1, "keys": ["c"]}
        # A worker that comes later knows which two those were.
        await bench.append(2, frames=[frame(1, keys=("a", "d"))])
        later = await bench.new_worker("later")
        assert (await later.commit()).points == 1
        row = await bench.catalog.run(REF)
        assert row is not None
        assert row.info["left_out"] == {"values": 2, "keys": ["d"]}


async def test_a_deleted_runs_name_is_a_new_run(bench: Bench) -> None:
    worker = await bench.new_worker()
    await bench.append(1, frames=[frame(0)], writer_started=5)
    await worker.commit()
    number = worker.known.runs[REF].number
    await bench.catalog.delete_runs([number], 10)
    await bench.append(1, writer="new", frames=[frame(0)], writer_started=2 * 10**15)
    await worker.commit()
    assert worker.known.runs[REF].number > number
    found = await bench.points.query("SELECT id FROM penstock.names FINAL WHERE kind = 'gone'")
    assert list(found["id"]) == [number]


async def test_what_was_invalidated_holds_again_once_it_is_asked_for(bench: Bench) -> None:
    known = (await bench.new_worker()).known
    seen = [known.is_stale]
    known.invalidate("store_replaced")
    seen.append(known.is_stale)
    await known.resume({SHARD})
    seen.append(known.is_stale)
    known.forget("shards_changed")
    seen.append(known.is_stale)
    await known.resume({SHARD})
    assert [*seen, known.is_stale] == [False, True, False, True, False]


async def test_an_invalidation_while_the_store_is_asked_is_not_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer may be the earlier store's."""
    known = (await bench.new_worker()).known
    known.forget("store_replaced")
    query = bench.points.query

    async def replaced(sql: str, params: Any = None) -> Columns:
        known.invalidate("store_replaced")
        return await query(sql, params)

    monkeypatch.setattr(bench.points, "query", replaced)
    await known.resume({SHARD})
    assert known.is_stale
    monkeypatch.undo()
    await known.resume({SHARD})
    assert not known.is_stale


async def test_a_store_that_does_not_answer_leaves_it_stale(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = (await bench.new_worker()).known
    known.forget("retry")

    async def fail(*_: object) -> Columns:
        raise Transient("away", code="store")

    monkeypatch.setattr(bench.points, "query", fail)
    with pytest.raises(Transient):
        await known.resume({SHARD})
    assert known.is_stale


async def test_an_operator_learns_why_everything_was_forgotten(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    known = (await bench.new_worker()).known
    with caplog.at_level("INFO"):
        known.forget("shards_changed")
    assert [each.getMessage() for each in caplog.records if "known_state" in each.name] == [
        "known_state_stale reason=shards_changed"
    ]


async def test_late_buckets_are_taken_once_each(bench: Bench) -> None:
    known = (await bench.new_worker()).known
    known.mark_late(np.array([2, 1, 2]), np.array([7, 9, 7]))
    known.mark_late(np.array([1, 1]), np.array([9, -3]))
    was_marked = known.has_late
    series, buckets = known.take_late()
    assert was_marked
    assert list(zip(series.tolist(), buckets.tolist(), strict=True)) == [(1, -3), (1, 9), (2, 7)]
    assert not known.has_late
    assert [len(each) for each in known.take_late()] == [0, 0]


async def test_forgetting_leaves_nothing(bench: Bench) -> None:
    worker = await bench.new_worker()
    await bench.append(1, frames=[frame(*range(10_000))])
    await worker.commit()
    known = worker.known
    known.mark_late(np.array([0]), np.array([1]))
    known.forget("retry")
    assert not any([known.runs, known.writers, known.beyond, len(known.table), known.has_late])
