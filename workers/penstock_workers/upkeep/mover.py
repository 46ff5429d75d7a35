"""Copies a run's rows in the store to another run number, with the key numbers of its new project.

Copying again writes the same rows under the same keys, so an interrupted copy is simply repeated. Each
statement copies no more points than the store can in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from penstock.errors import Transient
from penstock.failpoints import fail
from penstock_storage.clickhouse.schema import COLUMNS, DATABASE, KEY_TABLES, RUN_TABLES
from penstock_storage.contracts.interface import Catalog, PointStore
from penstock_storage.names import record

__all__ = ["Mover"]

_MAX_POINTS = 20_000_000
_MAX_KEYS = 500
_KEYED = tuple(table for table in KEY_TABLES if table != "points")  # which are copied in chunks
_UNKEYED = tuple(table for table in RUN_TABLES if table not in KEY_TABLES)


class Mover:
    """Makes the copies for moves between projects."""

    def __init__(self, catalog: Catalog, points: PointStore) -> None:
        self._catalog = catalog
        self._points = points

    async def copy(self, run: int, copy: int, *, to_project: int | None = None) -> None:
        """Copy everything that the store holds of `run`, and check that the points are the same.

        `to_project` is the copy's project; by default the one in the catalog.
        """
        if to_project is None:
            rows = await self._catalog.run_rows([copy])
            if copy not in rows:
                return  # deleted meanwhile: nobody will ask for what is missing
            to_project = rows[copy].project_number
        counts = await self._points_by_key(run)
        keys = await self._translated(run, to_project)
        for chunk in _chunks(keys, counts):
            fail("worker.move")
            await self._copy_keyed("points", run, copy, chunk)
        for start in range(0, len(keys), _MAX_KEYS):
            for table in _KEYED:
                await self._copy_keyed(table, run, copy, keys[start : start + _MAX_KEYS])
        for table in _UNKEYED:
            await self._copy(table, run, copy, "")
        if await self._digest(run, keys, 0) != await self._digest(copy, keys, 1):
            raise Transient(f"the copy of run {run} is not complete", code="copy_incomplete")

    async def _points_by_key(self, run: int) -> dict[int, int]:
        found = await self._points.query(
            f"SELECT key, count() AS n FROM {DATABASE}.points WHERE run = {run} GROUP BY key"
        )
        return dict(zip(map(int, found["key"]), map(int, found["n"]), strict=True))

    async def _translated(self, run: int, project: int) -> list[tuple[int, int]]:
        """(old number, new number) of every key of which the run has rows. As always, numbers are recorded
        in the store before they are used."""
        numbers: set[int] = set()
        for table in KEY_TABLES:
            found = await self._points.query(
                f"SELECT DISTINCT key FROM {DATABASE}.{table} WHERE run = {run}"
            )
            numbers |= set(map(int, found["key"]))
        names = await self._catalog.key_names(sorted(numbers))
        there = await self._catalog.ensure_keys(project, sorted(names.values()), bounded=False)
        await record(self._points, [("key", number, project, key) for key, number in there.items()])
        return sorted((number, there[name]) for number, name in names.items())

    async def _copy_keyed(
        self, table: str, run: int, copy: int, keys: Sequence[tuple[int, int]]
    ) -> None:
        await self._copy(
            table,
            run,
            copy,
            f" AND key IN ({', '.join(str(here) for here, _ in keys)})",
            keys,
        )

    async def _copy(
        self, table: str, run: int, copy: int, where: str, keys: Sequence[tuple[int, int]] = ()
    ) -> None:
        # Only integers from the catalog: there is nothing to inject.
        here, there = (", ".join(str(pair[side]) for pair in keys) for side in (0, 1))
        replaced = {
            "run": f"toUInt32({copy})",
            "key": f"transform(key, [{here}], [{there}], toUInt32(0))",
        }
        columns = list(COLUMNS[table])
        chosen = ", ".join(replaced.get(column, column) for column in columns)
        await self._points.execute(
            f"INSERT INTO {DATABASE}.{table} ({', '.join(columns)})"
            f" SELECT {chosen} FROM {DATABASE}.{table} WHERE run = {run}{where}"
        )

    async def _digest(
        self, run: int, keys: Sequence[tuple[int, int]], side: int
    ) -> tuple[int, int]:
        """The number of the run's points, and a digest of them that is independent of order."""
        count, digest = 0, 0
        for start in range(0, len(keys), _MAX_KEYS):
            part = keys[start : start + _MAX_KEYS]
            here, own = (", ".join(str(pair[i]) for pair in part) for i in (0, side))
            found = await self._points.query(
                "SELECT count() AS n, groupBitXor(cityHash64("
                f"transform(key, [{own}], [{here}], toUInt32(0)), lane, step,"
                " reinterpretAsUInt64(v))) AS digest"
                f" FROM {DATABASE}.points FINAL WHERE run = {run} AND key IN ({own})"
            )
            count += int(np.asarray(found["n"])[0])
            digest ^= int(np.asarray(found["digest"])[0])
        return count, digest


def _chunks(
    keys: Sequence[tuple[int, int]], counts: dict[int, int]
) -> Iterator[list[tuple[int, int]]]:
    """The keys in parts of at most `_MAX_POINTS` points, or of a single key."""
    part: list[tuple[int, int]] = []
    points = 0
    for pair in keys:
        own = counts.get(pair[0], 0)
        if part and (points + own > _MAX_POINTS or len(part) >= _MAX_KEYS):
            yield part
            part, points = [], 0
        part.append(pair)
        points += own
    if part:
        yield part
