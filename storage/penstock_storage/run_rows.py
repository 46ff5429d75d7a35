"""The rows of runs in the store, in every table that has any: counted, deleted, and copied to another run.

Statements are made of numbers from the catalog and names of tables and columns: there is nothing to inject.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from penstock_storage.clickhouse.schema import COLUMNS, DATABASE, KEY_TABLES
from penstock_storage.contracts.interface import PointStore

__all__ = ["RunRows"]


class RunRows:
    """What moving and deleting runs does in one store. All methods raise the store's errors."""

    def __init__(self, points: PointStore) -> None:
        self._points = points

    async def count(self, table: str, runs: Sequence[int]) -> int:
        """How many rows a table has of these runs."""
        found = await self._points.query(
            f"SELECT count() AS n FROM {DATABASE}.{table} WHERE run IN ({_among(runs)})"
        )
        return int(np.asarray(found["n"])[0])

    async def delete(self, table: str, runs: Sequence[int]) -> None:
        """Have the store delete a table's rows of these runs, which it does afterwards: see `is_deleting`."""
        await self._points.execute(
            f"ALTER TABLE {DATABASE}.{table} DELETE WHERE run IN ({_among(runs)})"
            " SETTINGS mutations_sync = 0"
        )

    async def is_deleting(self) -> bool:
        """Whether the store has deletions in hand."""
        found = await self._points.query(
            "SELECT count() AS n FROM system.mutations WHERE database = {database:String}"
            " AND NOT is_done",
            {"database": DATABASE},
        )
        return bool(int(np.asarray(found["n"])[0]))

    async def points_by_key(self, run: int) -> dict[int, int]:
        """How many points a run has, by the number of the key."""
        found = await self._points.query(
            f"SELECT key, count() AS n FROM {DATABASE}.points WHERE run = {run} GROUP BY key"
        )
        return dict(zip(map(int, found["key"]), map(int, found["n"]), strict=True))

    async def keys(self, run: int) -> set[int]:
        """The numbers of all keys of which a run has rows."""
        numbers: set[int] = set()
        for table in KEY_TABLES:
            found = await self._points.query(
                f"SELECT DISTINCT key FROM {DATABASE}.{table} WHERE run = {run}"
            )
            numbers |= set(map(int, found["key"]))
        return numbers

    async def copy(
        self, table: str, run: int, copy: int, keys: Mapping[int, int] | None = None
    ) -> None:
        """Copy a table's rows of `run` to the run `copy`; of a table with keys, the rows of these ones, with the
        numbers that they have there."""
        replaced, where = {"run": f"toUInt32({copy})"}, ""
        if keys is not None:
            replaced["key"] = _renumbered(keys)
            where = f" AND key IN ({_among(keys)})"
        chosen = ", ".join(replaced.get(column, column) for column in COLUMNS[table])
        await self._points.execute(
            f"INSERT INTO {DATABASE}.{table} ({', '.join(COLUMNS[table])})"
            f" SELECT {chosen} FROM {DATABASE}.{table} WHERE run = {run}{where}"
        )

    async def digest(self, run: int, keys: Mapping[int, int]) -> tuple[int, int]:
        """The number of a run's points under these keys, and a digest of them that is independent of order.
        `keys` maps the numbers that the keys have here to those that they have in the digest."""
        found = await self._points.query(
            f"SELECT count() AS n, groupBitXor(cityHash64({_renumbered(keys)}, lane, step,"
            " reinterpretAsUInt64(v))) AS digest"
            f" FROM {DATABASE}.points FINAL WHERE run = {run} AND key IN ({_among(keys)})"
        )
        return int(np.asarray(found["n"])[0]), int(np.asarray(found["digest"])[0])


def _among(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _renumbered(keys: Mapping[int, int]) -> str:
    return f"transform(key, [{_among(keys)}], [{_among(keys.values())}], toUInt32(0))"
