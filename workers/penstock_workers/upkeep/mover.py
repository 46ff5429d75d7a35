"""Copies a run's rows in the store to another run number, with the key numbers of its new project.

Copying again writes the same rows under the same keys, so an interrupted copy is simply repeated. Each
statement copies no more points than the store can in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from penstock.error_codes import ErrorCode
from penstock.errors import Transient
from penstock.failpoints import fail
from penstock_storage.clickhouse.schema import KEY_TABLES, RUN_TABLES
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import PointStore
from penstock_storage.names import record
from penstock_storage.run_rows import RunRows

__all__ = ["Mover"]

_MAX_POINTS = 20_000_000
_MAX_KEYS = 500

KeyPair = tuple[int, int]
"""The number of a key in the project that the run leaves, and in the one that it moves to."""


class Mover:
    """Makes the copies for moves between projects."""

    def __init__(self, catalog: Catalog, points: PointStore) -> None:
        self._catalog = catalog
        self._points = points
        self._rows = RunRows(points)

    async def copy(self, run: int, copy: int, *, to_project: int | None = None) -> None:
        """Copy everything that the store holds of `run`, and check that the points are the same.

        `to_project` is the copy's project; by default the one in the catalog.
        """
        if to_project is None:
            rows = await self._catalog.run_rows([copy])
            if copy not in rows:
                return  # deleted meanwhile: nobody will ask for what is missing
            to_project = rows[copy].project_number
        counts = await self._rows.points_by_key(run)
        pairs = await self._pairs(run, to_project)
        for chunk in _chunks(pairs, counts):
            fail("worker.move")
            await self._rows.copy("points", run, copy, dict(chunk))
        for table in RUN_TABLES:
            if table not in KEY_TABLES:
                await self._rows.copy(table, run, copy)
            elif table != "points":
                for part in _parts(pairs):
                    await self._rows.copy(table, run, copy, dict(part))
        here = await self._digest(run, [(old, old) for old, _ in pairs])
        there = await self._digest(copy, [(new, old) for old, new in pairs])
        if here != there:
            raise Transient(
                f"the copy of run {run} is not complete", code=ErrorCode.COPY_INCOMPLETE
            )

    async def _pairs(self, run: int, project: int) -> list[KeyPair]:
        """Every key of which the run has rows. As always, numbers are recorded in the store before they are
        used."""
        names = await self._catalog.key_names(sorted(await self._rows.keys(run)))
        there = await self._catalog.ensure_keys(project, sorted(names.values()), bounded=False)
        await record(self._points, [("key", number, project, key) for key, number in there.items()])
        return sorted((number, there[name]) for number, name in names.items())

    async def _digest(self, run: int, keys: Sequence[tuple[int, int]]) -> tuple[int, int]:
        count, digest = 0, 0
        for part in _parts(keys):
            points, own = await self._rows.digest(run, dict(part))
            count, digest = count + points, digest ^ own
        return count, digest


def _parts(pairs: Sequence[KeyPair]) -> Iterator[Sequence[KeyPair]]:
    return (pairs[start : start + _MAX_KEYS] for start in range(0, len(pairs), _MAX_KEYS))


def _chunks(pairs: Sequence[KeyPair], counts: Mapping[int, int]) -> Iterator[list[KeyPair]]:
    """The keys in parts of at most `_MAX_POINTS` points, or of a single key."""
    part: list[KeyPair] = []
    points = 0
    for pair in pairs:
        own = counts.get(pair[0], 0)
        if part and (points + own > _MAX_POINTS or len(part) >= _MAX_KEYS):
            yield part
            part, points = [], 0
        part.append(pair)
        points += own
    if part:
        yield part
