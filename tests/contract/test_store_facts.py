"""What workers and the compatible API ask of a store beyond its points: sizes, disks, and a run's last step."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from support.store import shared_store

from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.clickhouse.schema import COLUMNS
from penstock_storage.clickhouse.usage import (
    count_stored_runs,
    read_free_bytes,
    read_store_disks,
    read_table_usage,
)
from penstock_storage.contracts.interface import Columns
from penstock_storage.names import record
from penstock_storage.readers.last_line import LastLine, read_last_line

pytestmark = pytest.mark.asyncio(loop_scope="module")
RUNTIME = 5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def points() -> AsyncIterator[ClickHouse]:
    async with shared_store() as process:
        client = process.client()
        await client.setup()
        yield client
        await client.close()


async def log(points: ClickHouse, run: int, lane: int, steps: list[int], seq: int) -> None:
    """Steps that each come a second after the one before, of which all but the last have a run time."""
    n = len(steps)
    columns: Columns = {
        "run": np.full(n, run, np.uint32),
        "lane": np.full(n, lane, np.uint16),
        "step": np.array(steps, np.int64),
        "seq": np.full(n, seq, np.uint32),
    }
    at = np.array(steps, np.int64) * 1_000_000 + seq
    await points.insert("times", {**columns, "t": at})
    timed: Columns = {name: np.asarray(column)[:-1] for name, column in columns.items()}
    keys, values = np.full(n - 1, RUNTIME, np.uint32), np.array(steps[:-1]) + seq / 10
    await points.insert("points", {**timed, "key": keys, "v": values})


async def test_the_last_step_up_to_one(points: ClickHouse) -> None:
    await log(points, 70, 0, [1, 2, 3, 4], seq=1)
    await log(points, 70, 0, [2, 3], seq=2)  # step 2 was sent again
    await log(points, 70, 1, [3, 9], seq=1)
    await log(points, 70, 2, [0, 7], seq=1)  # a lane that is not asked for
    await log(points, 71, 0, [1, 5], seq=1)
    assert await read_last_line(points, 70, [0, 1], 2, RUNTIME) == LastLine(2, 2_000_002, 2.2)
    assert await read_last_line(points, 70, [0], 4, RUNTIME) == LastLine(4, 4_000_001, 3.1)
    assert await read_last_line(points, 70, [0, 1], 99, RUNTIME) == LastLine(5, 9_000_001, 3.1)
    assert await read_last_line(points, 70, [0], 4, 0) == LastLine(4, 4_000_001, 0.0)
    assert await read_last_line(points, 70, [0], 0, RUNTIME) is None
    assert await read_last_line(points, 72, [0], 9, RUNTIME) is None


async def test_sizes_of_tables_and_disks(points: ClickHouse) -> None:
    before = await read_table_usage(points)
    assert [*before] == [*COLUMNS]
    runs = await count_stored_runs(points)
    await record(points, [("run", 80, 3, "a"), ("run", 81, 3, "b"), ("lane", 82, 3, "0:0:w")])
    await record(points, [("run", 80, 3, "a")])
    after = await read_table_usage(points)
    assert after["names"].rows > before["names"].rows
    assert after["names"].bytes > 0
    assert after["names"].parts > 0
    assert await count_stored_runs(points) == runs + 2
    disks = await read_store_disks(points)
    assert disks
    assert all(0 < disk.free <= disk.total and disk.name for disk in disks)
    assert await read_free_bytes(points) > 0
