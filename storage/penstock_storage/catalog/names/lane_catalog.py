"""Lanes in the catalog: assigned once to the writers of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from penstock_storage.catalog.database import Database
from penstock_storage.catalog.names import lookups
from penstock_storage.catalog.names.census import Census
from penstock_storage.catalog.names.handout import add_lanes, set_outlived
from penstock_storage.contracts.ids import Lane
from penstock_storage.contracts.lanes import LaneRow, LaneStart

__all__ = ["LaneCatalog"]


class LaneCatalog:
    """The lanes' part of the `Catalog` protocol."""

    _database: Database
    _census: Census

    async def ensure_lanes(
        self,
        writers: Sequence[tuple[int, str, int, int]],
        starts: Mapping[tuple[int, str], LaneStart] | None = None,
    ) -> dict[tuple[int, str], Lane]:
        wanted = {(run, writer): (rank, started) for run, writer, rank, started in writers}
        async with self._database.reading() as connection:
            rows = await lookups.find_lanes(connection, wanted)
        found = {name: Lane(row.lane) for name, row in rows.items()}
        missing = {name: wanted[name] for name in wanted if name not in found}
        if missing:
            async with self._database.writing() as connection:
                found |= await add_lanes(connection, self._census, missing, starts or {})
        return found

    async def known_writers(
        self, writers: Collection[tuple[int, str]]
    ) -> dict[tuple[int, str], LaneRow]:
        async with self._database.reading() as connection:
            return await lookups.find_lanes(connection, writers)

    async def newest_attempts(
        self, places: Collection[tuple[int, int]]
    ) -> dict[tuple[int, int], LaneRow]:
        async with self._database.reading() as connection:
            return await lookups.newest_attempts(connection, places)

    async def set_outlived(self, lanes: Sequence[tuple[int, int]]) -> None:
        async with self._database.writing() as connection:
            await set_outlived(connection, lanes)

    async def lanes(self, runs: Sequence[int]) -> list[LaneRow]:
        async with self._database.reading() as connection:
            return await lookups.read_lanes(connection, runs)
