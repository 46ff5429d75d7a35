"""Reads the `series` and `dirty` tables: the range and state of each series, without its points.

A series is one (key, run, lane). The query merges its rows, so the result is correct even while commits
have not been merged on disk yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_storage.charts.attempts import LaneId
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import Columns, PointStore

__all__ = [
    "NEVER",
    "Dirty",
    "LastValues",
    "SeriesTable",
    "among",
    "count_runs",
    "int_list",
    "read_dirty",
    "read_first_steps",
    "read_last_values",
    "read_series",
    "select",
    "without",
]

NEVER = -(2**63)
"""The watermark of a series that has no tiers."""

U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SeriesTable:
    """Series as columns, ordered by (key, run, lane). Steps are inclusive."""

    key: U32
    run: U32
    lane: npt.NDArray[np.uint16]
    first: I64
    last: I64
    tiered: I64
    """Tiers are complete below this step; `NEVER` if there are none."""

    def __len__(self) -> int:
        return len(self.key)

    def take(self, index: npt.NDArray[Any]) -> SeriesTable:
        """The rows selected by a mask or an index array."""
        return SeriesTable(
            self.key[index],
            self.run[index],
            self.lane[index],
            self.first[index],
            self.last[index],
            self.tiered[index],
        )


@dataclass(frozen=True, slots=True)
class Dirty:
    """Tier buckets that a late point touched, ordered by (key, run, lane, bucket).

    `state` changes whenever a bucket becomes dirty or clean.
    """

    key: U32
    run: U32
    lane: npt.NDArray[np.uint16]
    bucket: I64
    state: bytes = b""


@dataclass(frozen=True, slots=True)
class LastValues:
    """The last value of each series, ordered by (run, key, lane)."""

    run: U32
    key: U32
    lane: npt.NDArray[np.uint16]
    step: I64
    value: F64
    kinds: npt.NDArray[np.uint8]
    """Bit 0: a float was logged; bit 1: an integer."""


def int_list(numbers: Iterable[int]) -> str:
    """Integers as a comma-separated SQL list."""
    return ",".join(map(str, map(int, numbers)))


def among(column: str, numbers: Collection[int]) -> str:
    """SQL: the column is one of these integers; a range if they form one, which is faster to look up."""
    lo, hi = int(min(numbers)), int(max(numbers))
    if hi - lo + 1 == len(set(numbers)):
        return f"{column} BETWEEN {lo} AND {hi}"
    return f"{column} IN ({int_list(numbers)})"


def without(gone: Collection[int]) -> str:
    """SQL: an additional condition that excludes deleted runs."""
    return f" AND run NOT IN ({int_list(gone)})" if gone else ""


async def read_series(
    store: PointStore, runs: Collection[int], keys: Collection[int]
) -> SeriesTable:
    """The series of these runs and keys with points."""
    # FINAL merges these few rows faster than GROUP BY would, and charts wait for them.
    columns = await select(
        store,
        f"SELECT key, run, lane, first_step, last_step, tiered FROM {DATABASE}.series FINAL"
        f" PREWHERE {among('run', runs)} AND {among('key', keys)} SETTINGS max_threads = 1",
    )
    table = SeriesTable(
        _column(columns, "key", np.uint32),
        _column(columns, "run", np.uint32),
        _column(columns, "lane", np.uint16),
        _column(columns, "first_step", np.int64),
        _column(columns, "last_step", np.int64),
        _column(columns, "tiered", np.int64),
    )
    return table.take(np.lexsort((table.lane, table.run, table.key)))


async def read_dirty(
    store: PointStore, runs: Collection[int], keys: Collection[int], shift: int
) -> Dirty:
    """The buckets of `shift` whose tier rows must not be used now."""
    columns = await select(
        store,
        "SELECT key, run, lane, groupArrayIf(bucket, dirty = 1) AS buckets,"
        " groupBitXor(cityHash64(bucket, ver)) AS state"
        f" FROM {DATABASE}.dirty FINAL PREWHERE {among('key', keys)}"
        f" AND shift = {int(shift)} AND {among('run', runs)}"
        " GROUP BY key, run, lane ORDER BY key, run, lane SETTINGS max_threads = 1",
    )
    buckets = [np.sort(np.array(each, np.int64)) for each in columns.get("buckets", ())]
    counts = [len(each) for each in buckets]
    names = ("key", "run", "lane", "state")
    key, run, lane, state = (_column(columns, name, np.uint64) for name in names)
    return Dirty(
        np.repeat(key, counts).astype(np.uint32),
        np.repeat(run, counts).astype(np.uint32),
        np.repeat(lane, counts).astype(np.uint16),
        np.concatenate([np.empty(0, np.int64), *buckets]),
        np.stack([key, run, lane, state]).tobytes(),
    )


async def read_first_steps(store: PointStore, runs: Collection[int]) -> dict[LaneId, int]:
    """The lowest step of each lane of these runs, over all keys."""
    columns = await select(
        store,
        "SELECT run, lane, min(s.first_step) AS first"
        f" FROM {DATABASE}.series AS s WHERE run IN ({int_list(runs)}) GROUP BY run, lane",
    )
    run, lane = _column(columns, "run", np.uint32), _column(columns, "lane", np.uint16)
    first = _column(columns, "first", np.int64)
    ids = zip(run.tolist(), lane.tolist(), strict=True)
    return dict(zip(ids, first.tolist(), strict=True))


async def read_last_values(
    store: PointStore, runs: Collection[int], keys: Collection[int] | None = None
) -> LastValues:
    """The last value of every series of these runs (and keys, if given)."""
    within = f"run IN ({int_list(runs)})"
    if keys is not None:
        within += f" AND key IN ({int_list(keys)})"
    columns = await select(
        store,
        "SELECT run, key, lane, max(s.last_step) AS step, tupleElement(max(s.last), 2) AS value,"
        f" groupBitOr(s.kinds) AS kinds FROM {DATABASE}.series AS s"
        f" WHERE {within} GROUP BY run, key, lane ORDER BY run, key, lane",
    )
    return LastValues(
        _column(columns, "run", np.uint32),
        _column(columns, "key", np.uint32),
        _column(columns, "lane", np.uint16),
        _column(columns, "step", np.int64),
        _column(columns, "value", np.float64),
        _column(columns, "kinds", np.uint8),
    )


async def count_runs(
    store: PointStore,
    keys: Collection[int],
    runs: Collection[int] | None = None,
    gone: Collection[int] = (),
) -> dict[int, int]:
    """The number of runs (all, or among these) with points, by key; keys without any are absent. `gone`:
    deleted runs, which do not count."""
    if not keys or (runs is not None and not runs):
        return {}
    # A project may have more keys than a statement should name; other keys are dropped here.
    where = f"key BETWEEN {int(min(keys))} AND {int(max(keys))}"
    if runs is not None:
        where += f" AND run IN ({int_list(runs)})"
    where += without(gone)
    columns = await select(
        store,
        f"SELECT key, groupBitmap(run) AS runs FROM {DATABASE}.series WHERE {where} GROUP BY key",
    )
    wanted = keys if isinstance(keys, set | frozenset | dict) else set(keys)
    key, count = _column(columns, "key", np.uint32), _column(columns, "runs", np.int64)
    found = zip(key.tolist(), count.tolist(), strict=True)
    return {number: runs for number, runs in found if number in wanted}


async def select(store: PointStore, sql: str) -> Columns:
    """The result of a statement that often finds nothing: then without columns, in one round trip."""
    blocks = [block async for block in store.stream(sql)]
    if len(blocks) <= 1:
        return blocks[0] if blocks else {}
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _column(columns: Columns, name: str, dtype: type[np.generic]) -> npt.NDArray[Any]:
    return np.asarray(columns.get(name, ()), dtype)
