"""Deleted and moved runs in the catalog, on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest
from support.catalogs import NewUrl, opened
from support.store import shared_store

from penstock.errors import Broken, Rejected, Transient
from penstock_storage.catalog import SqlCatalog
from penstock_storage.catalog.copying import dump_catalog, load_catalog
from penstock_storage.contracts.interface import RunChange, RunRef, RunRow
from penstock_storage.names import reconcile, record

A, B = RunRef("ana", "mnist", "a"), RunRef("ana", "mnist", "b")


async def make(catalog: SqlCatalog, ref: RunRef, *, state: str = "finished") -> RunRow:
    row = (await catalog.ensure_runs([ref]))[ref]
    await catalog.ensure_lanes([(row.number, f"w-{row.number}", 0, 5)])
    await catalog.apply_changes(
        [RunChange(row.number, "w5", 1, 0, "state", {"state": state})], 20
    )  # fmt: skip
    return row


async def seen(catalog: SqlCatalog, project: int, tick: int) -> set[str]:
    return {row.run async for part in catalog.runs_since(project, tick) for row in part}


async def test_a_deleted_run_is_nowhere_and_its_number_is_never_given_again(
    catalog: SqlCatalog,
) -> None:
    a, b = await make(catalog, A), await make(catalog, B)
    (tombstone,) = await catalog.delete_runs([b.number, 99], 1_000)
    assert (tombstone.run, tombstone.ref, tombstone.deleted_at, tombstone.purged_at) == (
        b.number,
        B,
        1_000,
        0,
    )
    assert tombstone.writers == {f"w-{b.number}"}
    assert await catalog.run(B) is None
    assert await catalog.numbers_of([A, B]) == {A: a.number}
    assert await catalog.run_rows([b.number]) == {}
    assert await catalog.newest_runs(a.project_number, 10, 0) == ([(1_000, a.number)], 1)
    assert await catalog.lanes([b.number]) == []
    assert await seen(catalog, a.project_number, -1) == {"a"}
    assert [row.runs for row in await catalog.projects()] == [1]
    assert await catalog.delete_runs([b.number], 2_000) == []
    later = await make(catalog, B)
    assert later.number > b.number
    assert await catalog.gone_runs(a.project_number) == [b.number]
    assert await catalog.tombstones_of([A, B]) == {B: [tombstone]}
    assert await catalog.tombstones(0) == [tombstone]
    assert await catalog.tombstones(tombstone.number) == []
    assert await catalog.last_tombstone() == tombstone.number


async def test_readers_learn_of_a_deletion_by_its_tick(catalog: SqlCatalog) -> None:
    a, b = await make(catalog, A), await make(catalog, B)
    ticks = [row.tick async for part in catalog.runs_since(1, -1) for row in part]
    assert await catalog.deleted_since(a.project_number, max(ticks)) is None
    await catalog.delete_runs([b.number], 1_000)
    tick = await catalog.deleted_since(a.project_number, max(ticks))
    assert tick is not None
    assert tick > max(ticks)
    assert await catalog.deleted_since(a.project_number, tick) is None


async def test_what_is_still_on_its_way_to_a_deleted_run_harms_nothing(
    catalog: SqlCatalog,
) -> None:
    a, b = await make(catalog, A), await make(catalog, B)
    await catalog.delete_runs([b.number], 1_000)
    changes = [
        RunChange(number, "w6", 1, 0, "config", {"lr": 1}) for number in (a.number, b.number)
    ]  # fmt: skip
    await catalog.apply_changes(changes, 30)
    row = await catalog.run(A)
    assert row is not None
    assert row.config == {"lr": 1}
    assert await catalog.touch_runs([b.number], 5_000) == []
    assert await catalog.mark_crashed([b.number], 9_000, 9_000) == []
    with pytest.raises(Transient):
        await catalog.ensure_lanes([(b.number, "late", 0, 5)])
    with pytest.raises(Broken):
        await catalog.apply_changes([RunChange(77, "w6", 1, 0, "config", {"lr": 1})], 30)


async def test_a_deleted_project_is_hidden_until_it_has_a_run_again(catalog: SqlCatalog) -> None:
    a, b = await make(catalog, A), await make(catalog, B)
    keys = await catalog.ensure_keys(a.project_number, ["loss"])
    gone = await catalog.delete_project(a.project_number, 1_000)
    assert {tombstone.run for tombstone in gone} == {a.number, b.number}
    assert await catalog.projects() == []
    assert await catalog.project_number("ana", "mnist") is None
    again = await make(catalog, A)
    assert again.project_number == a.project_number
    assert [row.runs for row in await catalog.projects()] == [1]
    assert await catalog.keys(a.project_number) == keys


async def test_tombstones_are_open_until_they_are_settled(catalog: SqlCatalog) -> None:
    a = await make(catalog, A)
    (tombstone,) = await catalog.delete_runs([a.number], 1_000)
    await catalog.note_purged([tombstone.number], 2_000, final=False)
    assert [each.purged_at for each in await catalog.open_tombstones()] == [2_000]
    await catalog.note_purged([tombstone.number], 3_000, final=True)
    assert await catalog.open_tombstones() == []
    assert await catalog.gone_runs(a.project_number) == []
    assert len(await catalog.tombstones(0)) == 1


async def test_names_from_the_store_do_not_bring_a_deleted_run_back(new_url: NewUrl) -> None:
    async with (
        shared_store() as process,
        opened(await new_url()) as catalog,
        opened(await new_url()) as older,
    ):
        points = process.client()
        await points.setup()
        for each in (catalog, older):
            for ref in (A, B):
                await make(each, ref)
        await record(points, await older.all_names())
        await catalog.delete_runs([2], 1_000)
        assert await reconcile(catalog, points) == 0
        assert await catalog.run(B) is None
        later = await make(catalog, B)
        await record(points, await catalog.all_names())
        # A copy from before the deletion learns of it, and of the later run.
        await reconcile(older, points)
        assert await older.numbers_of([A, B]) == {A: 1, B: later.number}
        assert [each.run for each in await older.tombstones(0)] == [2]
        # So does a catalog that knows nothing, also when the last number was a deleted run's.
        await catalog.delete_runs([later.number], 2_000)
        await record(points, await catalog.all_names())
        async with opened(await new_url()) as fresh:
            await reconcile(fresh, points)
            assert await fresh.numbers_of([A, B]) == {A: 1}
            assert (await make(fresh, B)).number > later.number
        await points.close()


async def test_a_copy_of_the_catalog_gives_no_deleted_number_again(new_url: NewUrl) -> None:
    async with opened(await new_url()) as catalog, opened(await new_url()) as other:
        await make(catalog, A)
        b = await make(catalog, B)
        await catalog.delete_runs([b.number], 1_000)
        lines = [line async for line in dump_catalog(catalog.database)]
        await load_catalog(other.database, iter(lines))
        assert (await make(other, B)).number > b.number
        assert await other.tombstones(0) == await catalog.tombstones(0)


async def test_a_run_moves_with_everything_that_is_its_own(catalog: SqlCatalog) -> None:
    a = await make(catalog, A)
    move = await catalog.begin_move(a.number, "other", 1_000)
    assert move.copy > a.number
    assert await catalog.begin_move(a.number, "other", 2_000) == move
    assert await catalog.numbers_of([A]) == {A: a.number}
    assert [each.copy for each in await catalog.moves()] == [move.copy]
    assert await catalog.finish_move(a.number, 3_000)
    there = await catalog.run(RunRef("ana", "other", "a"))
    assert there is not None
    assert (there.number, there.state) == (move.copy, "finished")
    assert [lane.writer for lane in await catalog.lanes([move.copy])] == [f"w-{a.number}"]
    assert await catalog.run(A) is None
    (tombstone,) = await catalog.tombstones(0)
    assert (tombstone.run, tombstone.moved_to, tombstone.writers) == (
        a.number,
        move.copy,
        frozenset({f"w-{a.number}"}),
    )
    assert await catalog.moves() == []
    assert not await catalog.finish_move(a.number, 4_000)


async def test_a_run_that_goes_on_or_would_meet_another_is_not_moved(catalog: SqlCatalog) -> None:
    a = await make(catalog, A)
    taken = RunRef("ana", "other", "a")
    await make(catalog, taken)
    with pytest.raises(Rejected, match="has a run a already"):
        await catalog.begin_move(a.number, "other", 1_000)
    b = await make(catalog, B, state="running")
    with pytest.raises(Rejected, match="is running"):
        await catalog.begin_move(b.number, "other", 1_000)
    await catalog.delete_runs([a.number], 1_000)
    with pytest.raises(Rejected, match="no such run"):
        await catalog.begin_move(a.number, "third", 1_000)


async def test_a_move_that_was_overtaken_is_called_off(catalog: SqlCatalog) -> None:
    a = await make(catalog, A)
    move = await catalog.begin_move(a.number, "other", 1_000)
    await make(catalog, RunRef("ana", "other", "a"))
    assert not await catalog.finish_move(a.number, 3_000)
    assert await catalog.numbers_of([A]) == {A: a.number}
    # What was copied so far is purged, and its number is never anything else's.
    assert [each.run for each in await catalog.open_tombstones()] == [move.copy]
