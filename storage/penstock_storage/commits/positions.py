"""The `applied` table: which batches of each writer are in the store. Dedupe rests on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = [
    "PositionRow",
    "StoredPosition",
    "insert_positions",
    "read_position",
    "read_positions",
]


class StoredPosition(NamedTuple):
    """Every number up to `low` and those in `gaps` are stored, but the `dead` ones among them."""

    lane: int
    low: int
    gaps: Collection[int]
    dead: Collection[int]


class PositionRow(NamedTuple):
    """A row of the table. Of two for one writer, the higher version counts."""

    run: int
    lane: int
    writer: str
    low: int
    gaps: list[int]
    dead: list[int]
    ver: int


async def read_positions(
    store: PointStore, runs: Collection[int]
) -> dict[tuple[int, str], StoredPosition]:
    """The position of each writer (run, writer) of these runs that the store knows."""
    found = await store.query(
        f"SELECT run, writer, lane, low, gaps, dead FROM {DATABASE}.applied FINAL "
        "WHERE run IN {runs:Array(UInt32)}",
        {"runs": list(runs)},
    )
    columns = (found[name] for name in ("run", "writer", "lane", "low", "gaps", "dead"))
    return {
        (int(run), writer): StoredPosition(int(lane), int(low), list(gaps), list(dead))
        for run, writer, lane, low, gaps, dead in zip(*columns, strict=True)
    }


async def read_position(store: PointStore, run: int, writer: str) -> StoredPosition | None:
    """The position of one writer; None if the store does not know it."""
    found = await store.query(
        f"SELECT lane, low, gaps, dead FROM {DATABASE}.applied FINAL "
        "WHERE run = {run:UInt32} AND writer = {writer:String}",
        {"run": run, "writer": writer},
    )
    columns = (found[name] for name in ("lane", "low", "gaps", "dead"))
    for lane, low, gaps, dead in zip(*columns, strict=True):
        return StoredPosition(int(lane), int(low), list(gaps), list(dead))
    return None


async def insert_positions(store: PointStore, rows: Sequence[PositionRow]) -> None:
    """Write these rows, at least one, as one part."""
    runs, lanes, writers, lows, gaps, dead, versions = zip(*rows, strict=True)
    await store.insert(
        "applied",
        {
            "run": np.array(runs, np.uint32),
            "lane": np.array(lanes, np.uint16),
            "writer": list(writers),
            "low": np.array(lows, np.uint32),
            "gaps": list(gaps),
            "dead": list(dead),
            "ver": np.array(versions, np.uint64),
        },
    )
