"""What a commit does, over stores in memory: everything once, and nothing freed before it is stored."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from pkgutil import resolve_name
from typing import Any

import pytest
from support.memory_worker import Bench, frame, running_bench

from penstock.errors import Broken, Transient
from penstock_storage.contracts.interface import Column, RunRef
from penstock_workers.commits.commit import Refused
from penstock_workers.shards.in_thread import Unusable
from penstock_workers.shards.queue import CONFLICT

WRITER = "e/p/r/w"


@pytest.fixture
async def bench(catalog_url: str) -> AsyncIterator[Bench]:
    async with running_bench(catalog_url) as running:
        yield running


async def test_a_batch_is_stored_freed_and_told(bench: Bench) -> None:
    worker = await bench.new_worker()
    await bench.append(1, frames=[frame(0, 1)], records=[{"t": "config", "update": {"lr": 0.1}}])
    prepared = await worker.commit()
    assert (prepared.batches, prepared.points, prepared.duplicates) == (1, 2, 0)
    assert await bench.stored() == [(0, 0.5, 1), (1, 0.5, 1)]
    assert await bench.queued() == 0
    assert await bench.committed(WRITER) == 1
    row = await bench.catalog.run(RunRef("e", "p", "r"))
    assert row is not None
    assert row.config == {"lr": 0.1}
    assert prepared.advanced == {RunRef("e", "p", "r"): 1}


async def test_names_are_in_the_store_before_their_points(bench: Bench) -> None:
    worker = await bench.new_worker()
    await bench.append(1, frames=[frame(0)])
    await worker.read()
    assert bench.points.inserted == {"names": 4}
    found = await bench.points.query("SELECT kind, name FROM penstock.names FINAL")
    named = dict(zip(found["kind"], found["name"], strict=True))
    assert (named["project"], named["run"], named["key"]) == ("e/p", "r", "loss")
    assert str(named["lane"]).endswith(":w")


async def test_what_the_store_has_is_not_stored_again(bench: Bench) -> None:
    await bench.append(1, frames=[frame(0)])
    await (await bench.new_worker()).commit()
    before = dict(bench.points.inserted)
    await bench.redis.flushall()
    await bench.append(1, frames=[frame(0)])
    await bench.append(2, frames=[frame(1)])
    prepared = await (await bench.new_worker()).commit()
    assert (prepared.batches, prepared.duplicates) == (1, 1)
    assert await bench.committed(WRITER) == 2
    assert bench.points.inserted["points"] == before["points"] + 1
    assert bench.points.inserted["batches"] == before["batches"] + 1


@pytest.mark.parametrize("table", ["points", "series", "batches", "applied"])
@pytest.mark.parametrize("error", [Transient("away", code="store"), Broken("no good")])
async def test_nothing_is_freed_that_is_not_stored(
    bench: Bench, table: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await bench.new_worker()
    await bench.append(1, frames=[frame(0)])
    insert = bench.points.insert

    async def fail(name: str, columns: Mapping[str, Column]) -> None:
        if name == table:
            raise error
        await insert(name, columns)

    monkeypatch.setattr(bench.points, "insert", fail)
    with pytest.raises(Refused if isinstance(error, Broken) else Transient):
        await worker.commit()
    assert await bench.queued() == 1
    assert await bench.committed(WRITER) is None
    # The next worker has the same to do, and it changes nothing that it is done twice.
    monkeypatch.setattr(bench.points, "insert", insert)
    await (await bench.new_worker("other")).commit()
    assert await bench.stored() == [(0, 0.5, 1)]
    assert (await bench.queued(), await bench.committed(WRITER)) == (0, 1)


async def test_numbers_that_are_missing_are_waited_for(bench: Bench) -> None:
    worker = await bench.new_worker()
    for seq, committed in ((3, 0), (1, 1), (4, 1), (2, 4)):
        await bench.append(seq, frames=[frame(seq)])
        await worker.commit()
        assert await bench.committed(WRITER) == committed
        assert worker.known.missing_batches() == {3: 2, 1: 1, 4: 1, 2: 0}[seq]
    assert [seq for _, _, seq in await bench.stored()] == [1, 2, 3, 4]
    # A worker that comes later knows them too.
    later = await bench.new_worker("later")
    await bench.append(6, frames=[frame(6)])
    await later.commit()
    assert await bench.committed(WRITER) == 4
    assert later.known.missing_batches() == 1


async def test_another_content_under_a_stored_number_is_a_dead_letter(bench: Bench) -> None:
    worker = await bench.new_worker()
    await bench.append(1, frames=[frame(0)])
    await worker.commit()
    await bench.redis.flushall()
    worker = await bench.new_worker()
    await bench.append(1, frames=[frame(0, value=7.0)])
    prepared = await worker.commit()
    assert prepared.conflicts == 1
    assert await bench.letters() == [CONFLICT]
    assert await bench.stored() == [(0, 0.5, 1)]
    assert await bench.queued() == 0


async def test_who_has_lost_the_shards_frees_nothing(bench: Bench) -> None:
    worker = await bench.new_worker()
    await bench.append(1, frames=[frame(0)])
    prepared = await worker.read()
    other = await bench.new_worker("other")
    assert await worker.committer.commit(prepared) == set(prepared.acknowledgements)
    assert await bench.queued() == 1
    assert (await other.commit()).duplicates == 1
    assert (await bench.queued(), await bench.committed(WRITER)) == (0, 1)
    assert await bench.stored() == [(0, 0.5, 1)]


async def test_a_store_that_was_replaced_meanwhile_is_told_nothing(bench: Bench) -> None:
    worker = await bench.new_worker()
    await bench.append(1, frames=[frame(0)])
    prepared = await worker.read()
    await worker.clock.renew()
    with pytest.raises(Transient, match="replaced"):
        await worker.committer.commit(prepared)
    assert "applied" not in bench.points.inserted
    assert await bench.queued() == 1


async def test_batches_of_a_deleted_run_are_freed_and_not_stored(bench: Bench) -> None:
    worker = await bench.new_worker()
    await bench.append(1, frames=[frame(0)], writer_started=5)
    await worker.commit()
    row = await bench.catalog.run(RunRef("e", "p", "r"))
    assert row is not None
    await bench.append(2, frames=[frame(1)], writer_started=5)
    await bench.catalog.delete_runs([row.number], 10**18)
    prepared = await worker.commit()
    assert prepared.refused == 1
    assert await bench.stored() == [(0, 0.5, 1)]
    assert await bench.queued() == 0
    assert await bench.catalog.run(RunRef("e", "p", "r")) is None


@pytest.mark.parametrize(
    ("step", "named"),
    [
        ("penstock_workers.batches.delivery.decode_stored", 2),
        ("penstock_workers.batches.prepare.changes_of", 2),
        ("penstock_workers.batches.prepare.fold", None),
    ],
)
async def test_the_batch_that_failed_is_named(
    bench: Bench, step: str, named: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it failed together with the others."""
    worker = await bench.new_worker()
    for seq in (1, 2, 3):
        records = [{"t": "config", "update": {"lr": 0.1}}] if seq == 2 else []
        await bench.append(seq, frames=[frame(seq)], records=records)
    calls = itertools.count(1)
    original: Any = resolve_name(step)

    def fail(*arguments: object, **named_arguments: object) -> object:
        if named is not None and next(calls) != named:
            return original(*arguments, **named_arguments)
        raise ValueError("no good")

    monkeypatch.setattr(step, fail)
    with pytest.raises(Unusable) as error:
        await worker.read()
    found = error.value.entry
    assert (found.seq if found else None) == named
    monkeypatch.undo()
    assert (await worker.commit()).batches == 3
