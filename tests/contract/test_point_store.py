"""What workers ask of a point store, of the real one and of the one in memory that unit tests use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from support.memory_store import MemoryPointStore
from support.store import shared_store

from penstock.errors import Broken
from penstock_storage.commits.batch_digests import BatchId, read_digests
from penstock_storage.commits.positions import (
    PositionRow,
    insert_positions,
    read_position,
    read_positions,
)
from penstock_storage.commits.run_keys import count_keys, list_keys
from penstock_storage.commits.unfinished import (
    read_dirty_buckets,
    read_long_series,
    read_unfinished_runs,
)
from penstock_storage.contracts.interface import Columns, PointStore
from penstock_storage.names import record

pytestmark = pytest.mark.asyncio(loop_scope="module")
U16, U32, U64 = np.uint16, np.uint32, np.uint64


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["real", "memory"])
async def points(request: pytest.FixtureRequest) -> AsyncIterator[PointStore]:
    if request.param == "memory":
        memory = MemoryPointStore()
        await memory.setup()
        yield memory
        await memory.close()
        return
    async with shared_store() as process:
        client = process.client()
        await client.setup()
        yield client
        await client.close()


def rows(found: Columns) -> list[tuple[Any, ...]]:
    """The answer as sorted rows of plain values."""
    columns = [
        column.tolist() if isinstance(column, np.ndarray) else list(column)
        for column in found.values()
    ]
    return sorted(zip(*columns, strict=True))


async def test_it_has_an_id_a_clock_and_notes(points: PointStore) -> None:
    before = await points.store_id()
    assert len(before) >= 16
    await points.setup()
    assert await points.store_id() == before
    assert points.connections >= 1
    assert (await points.id_and_clock())[1] == 0
    for at in (5, 10**16, 7):
        await points.set_clock(at)
    assert await points.id_and_clock() == (await points.store_id(), 10**16)
    assert await points.noted("upkeep") is None
    for text in ("a", "é'\"\\"):
        await points.note("upkeep", text)
        assert await points.noted("upkeep") == text
    renewed = await points.renew_id()
    assert renewed != before
    assert await points.store_id() == renewed


async def committed(points: PointStore, run: int, **columns: Any) -> None:
    rows = len(columns["writer"])
    ids: Columns = {"run": np.full(rows, run, U32), "lane": np.full(rows, 2, U16)}
    numbers: Columns = {name: np.array(columns[name], U32) for name in ("low", "ver")}
    await points.insert("applied", {**ids, **columns, **numbers})


async def test_the_newest_committed_numbers_of_each_writer(points: PointStore) -> None:
    odd = "w'\\é\n\""
    await committed(
        points, 10, writer=["a", odd], low=[7, 5], ver=[3, 1], gaps=[[9, 11], []], dead=[[], [4]]
    )
    await committed(
        points, 10, writer=["a", odd], low=[6, 6], ver=[2, 1], gaps=[[], [8]], dead=[[1], []]
    )
    await committed(points, 11, writer=["a"], low=[1], ver=[1], gaps=[[]], dead=[[]])
    assert await read_positions(points, [10]) == {
        (10, "a"): (2, 7, [9, 11], []),
        (10, odd): (2, 6, [8], []),
    }
    assert (await read_positions(points, [10, 11])).keys() == {(10, "a"), (10, odd), (11, "a")}
    assert await read_positions(points, [12]) == {}
    assert await read_position(points, 10, odd) == (2, 6, [8], [])
    assert await read_position(points, 9, odd) is None


async def test_positions_are_read_as_they_were_written(points: PointStore) -> None:
    row = PositionRow(13, 3, "w", 4, [6, 9], [2, 9], 2**40)
    await insert_positions(points, [row, row._replace(writer="other", low=0, gaps=[], dead=[])])
    await insert_positions(points, [row._replace(low=3, ver=2**40 - 1)])
    assert await read_positions(points, [13]) == {
        (13, "w"): (3, 4, [6, 9], [2, 9]),
        (13, "other"): (3, 0, [], []),
    }


async def series(points: PointStore, run: int, *each: tuple[int, int, int, int, int]) -> None:
    """(key, lane, first step, last step, tiered below)"""
    keys, lanes, first, last, tiered = (np.array(column) for column in zip(*each, strict=True))
    await points.insert(
        "series",
        {
            "run": np.full(len(keys), run, U32), "key": keys, "lane": lanes, "first_step": first,
            "last_step": last, "last": (last.astype(U64), last / 2), "kinds": np.ones(len(keys), U32),
            "tiered": tiered,
        },
    )  # fmt: skip


async def dirty(points: PointStore, run: int, *each: tuple[int, int, int]) -> None:
    """(bucket, whether it is dirty, version)"""
    buckets, marks, versions = zip(*each, strict=True)
    n = len(each)
    await points.insert(
        "dirty",
        {
            "key": np.full(n, 1, U32), "run": np.full(n, run, U32), "lane": np.zeros(n, U16),
            "shift": np.full(n, 8), "bucket": np.array(buckets), "dirty": np.array(marks),
            "ver": np.array(versions, U64),
        },
    )  # fmt: skip


async def test_series_that_are_long_and_buckets_that_are_dirty(points: PointStore) -> None:
    never = -(2**63)
    await series(points, 20, (1, 0, 0, 4_000, never), (2, 1, 5, 4_100, never))
    await series(points, 20, (1, 0, 3_000, 5_000, 2_048), (2, 1, 6, 7, never))
    await dirty(points, 20, (3, 1, 5), (4, 1, 5), (-5, 1, 1))
    await dirty(points, 20, (3, 0, 6), (4, 0, 4))
    (found,) = await read_long_series(points, [20])  # the other one is too short to have tiers
    assert found == (1, 20, 0, 0, 5_000, 2_048)
    buckets = await read_dirty_buckets(points, [20])
    assert sorted(buckets) == [(1, 20, 0, -5), (1, 20, 0, 4)]
    assert not await read_long_series(points, [21])
    assert not await read_dirty_buckets(points, [21])


async def test_runs_that_were_left_unfinished(points: PointStore) -> None:
    await record(
        points,
        [
            ("project", 3, 0, "e/p"), ("run", 30, 3, "dirty"), ("run", 31, 3, "long"),
            ("run", 32, 3, "tiered"), ("run", 33, 3, "short"), ("lane", 30, 3, "0:0:w"),
        ],
    )  # fmt: skip
    await dirty(points, 30, (1, 1, 1))
    await series(points, 31, (1, 0, 0, 9_000, 8_960))
    await series(points, 32, (1, 0, 0, 9_000, 8_960))
    await series(points, 32, (1, 0, 0, 9_000, 9_216))
    await series(points, 33, (1, 0, 0, 8_000, 0))
    found = await read_unfinished_runs(points)
    assert {run: path for run, path in found.items() if run >= 30} == {
        30: "e/p/dirty",
        31: "e/p/long",
    }


async def test_the_keys_of_runs(points: PointStore) -> None:
    await series(points, 40, (1, 0, 0, 1, 0), (2, 0, 0, 1, 0), (2, 1, 0, 1, 0))
    await series(points, 41, (7, 0, 0, 1, 0))
    one = {"run": [40], "lane": [0], "step": [0], "key": [9], "seq": [1]}
    numbers: Columns = {name: np.array(value) for name, value in one.items()}
    await points.insert("values", {**numbers, "kind": ["string"], "json": ['"é"']})
    assert await count_keys(points, [40, 41, 42]) == {40: 2, 41: 1}
    assert sorted(await list_keys(points, 40)) == [1, 2, 9]


async def test_digests_of_batches(points: PointStore) -> None:
    great = 2**64 - 3
    for digest in (1, great):
        await points.insert(
            "batches",
            {
                "run": np.array([50, 50, 51]), "lane": np.array([0, 1, 0]), "seq": np.array([7, 7, 8]),
                "digest": np.array([digest, 5, 6], U64), "points": np.ones(3, U32), "records": np.ones(3, U32),
            },
        )  # fmt: skip
    asked = [BatchId(50, 0, 7), BatchId(51, 0, 8), BatchId(51, 0, 7), BatchId(50, 2, 7)]
    assert await read_digests(points, asked) == {asked[0]: great, asked[1]: 6}


async def test_points_are_kept_once_each_by_the_newest_number(points: PointStore) -> None:
    for seq, values in ((9, [0.5, 1.5]), (8, [7.0, 8.0]), (9, [0.5, 1.5])):
        await points.insert(
            "points",
            {
                "key": np.array([1, 1]), "run": np.array([60, 60]), "lane": np.array([0, 0]),
                "step": np.array([-1, 2**53]), "v": np.array(values), "seq": np.array([seq, seq]),
            },
        )  # fmt: skip
    sql = "SELECT step, v, seq FROM penstock.points FINAL WHERE run = {run:UInt32}"
    assert rows(await points.query(sql, {"run": 60})) == [(-1, 0.5, 9), (2**53, 1.5, 9)]
    blocks = [block async for block in points.stream(sql, {"run": 60})]
    assert [row for block in blocks for row in rows(block)] == [(-1, 0.5, 9), (2**53, 1.5, 9)]


async def test_a_statement_that_is_wrong_is_refused(points: PointStore) -> None:
    with pytest.raises(Broken):
        await points.query("SELECT * FROM penstock.nope")


@pytest.mark.heavy
@pytest.mark.smoke
async def test_blocks_that_are_too_large_or_do_not_fit_are_refused(points: PointStore) -> None:
    many = np.ones(1_048_450, U32)
    names: Columns = {"kind": [""] * len(many), "name": [""] * len(many)}
    with pytest.raises(ValueError, match="1048449"):
        await points.insert("names", {**names, "id": many, "project": many, "ver": many})
    with pytest.raises(ValueError, match="do not fit"):
        await points.insert("names", {**names, "id": many / 2, "project": many, "ver": many})
