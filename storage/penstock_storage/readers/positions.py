"""The durable positions of writers: which of their batches the store has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = ["StoredPosition", "read_position"]


class StoredPosition(NamedTuple):
    """Every number <= `low`, and those in `gaps`, are stored; those in `dead` became dead letters."""

    lane: int
    low: int
    gaps: Sequence[int]
    dead: Sequence[int]


async def read_position(store: PointStore, run: int, writer: str) -> StoredPosition | None:
    """The position of one writer of a run, None if the store has none. Raises the store's errors."""
    found = await store.query(
        f"SELECT lane, low, gaps, dead FROM {DATABASE}.applied FINAL"
        " WHERE run = {run:UInt32} AND writer = {writer:String}",
        {"run": run, "writer": writer},
    )
    columns = (found[name] for name in ("lane", "low", "gaps", "dead"))
    for lane, low, gaps, dead in zip(*columns, strict=True):
        return StoredPosition(int(lane), int(low), gaps, dead)
    return None
