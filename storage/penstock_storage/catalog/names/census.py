"""Counts runs, writers and keys, to find out how many more the bounds allow.

Counted, not stored: rows and counts cannot diverge, whichever version of Penstock wrote the rows. For
very large numbers, which take long to count, a count is reused for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock_common.process.bounds import Bounds, Owner
from penstock_storage.catalog.tables import keys, lanes, projects, runs

__all__ = ["Census"]

_MANY = 50_000
_SHARE = 100
"""Counting takes at most one part in this many of the time."""
_MAX_COUNTS = 10_000

_OF_PROJECTS = runs.join(projects, runs.c.project == projects.c.number)
_TABLES = {
    "runs": _OF_PROJECTS,
    "writers": lanes.join(_OF_PROJECTS, lanes.c.run == runs.c.number),
    "keys": keys.join(projects, keys.c.project == projects.c.number),
}
_PATH = (projects.c.entity, projects.c.project, runs.c.run)


@dataclass(slots=True)
class _Count:
    number: int
    until: float


class Census:
    """Counts inside the caller's transaction. A reused count does not include what other processes added
    meanwhile: a very large bound may be exceeded by that."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._counts: dict[Owner, _Count] = {}

    async def room(self, connection: AsyncConnection, owner: Owner) -> int:
        """How many more this owner may have; 0 at or above its bound."""
        known = self._counts.get(owner)
        if known is None or self._clock() >= known.until:
            known = await self._count(connection, owner)
        return max(0, self._bounds.of(owner) - known.number)

    def add(self, owner: Owner, number: int) -> None:
        """Add to the count."""
        if known := self._counts.get(owner):
            known.number += number

    def forget(self) -> None:
        """Discard the counts: something was deleted, or a transaction rolled back."""
        self._counts.clear()

    async def _count(self, connection: AsyncConnection, owner: Owner) -> _Count:
        started = self._clock()
        path = owner.path.split("/")
        query = select(func.count()).select_from(_TABLES[owner.what])
        query = query.where(*(column == name for column, name in zip(_PATH, path, strict=False)))
        number = await connection.scalar(query) or 0
        now = self._clock()
        count = _Count(number, now + _SHARE * (now - started))
        if number >= _MANY:
            if len(self._counts) >= _MAX_COUNTS:
                self._counts.clear()
            self._counts[owner] = count
        return count
