"""The table of series is read in the event loop while a thread makes it grow."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import numpy as np
import pytest

from penstock_workers.batches.known_state import KnownState
from penstock_workers.batches.series import NEVER, KnownSeries, SeriesIndex
from penstock_workers.commits.commit_numbers import CommitNumbers
from penstock_workers.compaction.compactor import Compactor


def grow(table: SeriesIndex, first: int, count: int) -> None:
    """In a thread, as frames are folded."""
    numbers = range(first, first + count)
    keys = tuple(str(number) for number in numbers)
    thread = threading.Thread(
        target=table.add_frame, args=(1, 0, keys, numbers), kwargs={"shard": 0}
    )
    thread.start()
    thread.join()


class _Leases:
    """With new series whenever the compactor looks at them."""

    def __init__(self, table: SeriesIndex) -> None:
        self._table = table
        self._next = 10

    @property
    def epochs(self) -> dict[int, int]:
        grow(self._table, self._next, 5_000)
        self._next += 5_000
        return {0: 1}


class _Store:
    """Takes everything, has nothing. Its answers take until the table has grown again."""

    def __init__(self, table: SeriesIndex) -> None:
        self._table = table
        self.inserted: list[str] = []

    async def query(self, _: str) -> dict[str, np.ndarray[Any, Any]]:
        grow(self._table, 1_000_000 + 5_000 * len(self._table), 5_000)
        return {name: np.empty(0, np.int64) for name in ("key", "run", "lane", "points")}

    async def insert(self, table: str, _: object) -> None:
        self.inserted.append(table)


def test_the_compactor_looks_at_a_table_that_grows() -> None:
    nothing = cast("Any", None)
    known = KnownState(nothing, nothing, clock=lambda: 0.0)
    table = known.table
    for key in range(3):
        table.learn(KnownSeries(key, 1, 0, 0, 0, 50_000, NEVER))
    table.set_counted(np.array([0]), np.array([-10]))
    store, leases = cast("Any", _Store(table)), cast("Any", _Leases(table))
    compactor = Compactor(store, known, CommitNumbers(), leases)
    assert asyncio.run(compactor.run_once(asyncio.Lock())) == 0
    assert len(table) > 10_000
    # What was noted of the series is not lost in the columns that were left behind.
    assert table.counted[:3].tolist() == [50_000] * 3


def test_a_view_is_of_one_moment() -> None:
    table = SeriesIndex()
    grow(table, 0, 10)
    view = table.view()
    grow(table, 10, 10_000)
    assert {len(column) for column in view} == {10}
    assert {len(column) for column in table.view()} == {10_010}


def test_no_write_is_lost_while_the_table_grows() -> None:
    table = SeriesIndex()
    first = table.add_frame(1, 0, ("a",), [1], shard=0)
    stop = threading.Event()

    def fold() -> None:
        for number in range(2, 50_000):
            table.add_frame(1, 0, (str(number),), [number], shard=0)
            if stop.is_set():
                return

    thread = threading.Thread(target=fold)
    thread.start()
    try:
        for step in range(500):
            at = np.array([step])
            table.set_open(first, at)
            table.set_counted(first, at)
            table.note_steps(first, at, at)
            assert table.open[first] == table.counted[first] == table.last_step[first] == step
            assert len({len(column) for column in table.view()}) == 1
            assert len(table.rank()) <= len(table)
    finally:
        stop.set()
        thread.join()


def test_two_threads_that_meet_a_series_give_it_one_index() -> None:
    table = SeriesIndex()
    found: list[list[int]] = []

    def meet() -> None:
        names = [(str(number),) for number in range(3_000)]
        found.append(
            [int(table.add_frame(1, 0, name, [int(name[0])], shard=0)[0]) for name in names]
        )

    threads = [threading.Thread(target=meet) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(table) == 3_000
    assert found[0] == found[1] == found[2]


def test_rows_with_ever_other_keys_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock_workers.batches.series._MAX_FRAME_CELLS", 40_000)
    table = SeriesIndex()
    for left_out in range(210):
        numbers = [number for number in range(200) if number != left_out]
        keys = tuple(f"k{number}" for number in numbers)
        table.add_frame(1, 0, keys, numbers, shard=0)
        assert table.of_frame(1, 0, keys) is not None
    assert len(table) == 200
    assert 0 < sum(len(keys) for _, _, keys in table._frames) <= 40_000
