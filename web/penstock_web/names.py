"""Names to numbers: what the point store knows runs and keys by, from the catalog, remembered.

A number never changes its meaning, so what was found stays true until it is deleted: that is heard of
at once through Redis, and looked for every second besides. What was not found is looked up again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from aiohttp import web

from penstock.errors import PenstockError
from penstock_common.watchdog import Watchdog
from penstock_storage.interface import Catalog, LaneRow, RunRef, RunRow
from penstock_web.access import not_found

__all__ = ["Names"]

_LOG = logging.getLogger(__name__)
_EVERY_S = 1.0
_MAX_RUNS = 100_000
_MAX_PROJECTS = 1_000
_MAX_KEYS = 500_000


class Names:
    """Looks names up in the catalog, and remembers the answers."""

    def __init__(self, catalog: Catalog, watchdog: Watchdog | None = None) -> None:
        self._catalog = catalog
        self._watchdog = watchdog or Watchdog()
        self._projects: dict[tuple[str, str], int] = {}
        self._runs: dict[tuple[str, str, str], int] = {}
        self._keys: dict[int, dict[str, int]] = {}
        self._last: int | None = None

    async def project(self, entity: str, project: str) -> int:
        """The number of a project. Raises `Rejected` (404)."""
        number = self._projects.get((entity, project))
        if number is None:
            number = await self._catalog.project_number(entity, project)
        if number is None:
            raise not_found(f"project {entity}/{project}")
        _bound(self._projects, _MAX_PROJECTS)
        self._projects[entity, project] = number
        return number

    async def runs(self, entity: str, project: str, names: Sequence[str]) -> dict[str, int]:
        """The numbers of those of these runs that exist, in this order."""
        known = {
            name: number
            for name in names
            if (number := self._runs.get((entity, project, name))) is not None
        }
        missing = [name for name in names if name not in known]
        if missing:
            number = await self.project(entity, project)
            found = await self._catalog.run_numbers(number, missing)
            _bound(self._runs, _MAX_RUNS)
            self._runs |= {(entity, project, name): own for name, own in found.items()}
            known |= found
        return {name: known[name] for name in names if name in known}

    def remember(self, rows: Iterable[RunRow]) -> None:
        """Take over the numbers of runs that were read for another reason."""
        _bound(self._runs, _MAX_RUNS)
        for row in rows:
            self._runs[row.entity, row.project, row.run] = row.number

    def forget(self, runs: Iterable[RunRef]) -> None:
        """These were deleted or moved: a run of that name is another one, if there is one."""
        for ref in runs:
            self._runs.pop(ref, None)

    def forget_project(self, entity: str, project: str) -> None:
        """This one was deleted."""
        self._projects.pop((entity, project), None)

    async def refresh(self) -> None:
        """Forget what was deleted since the last time."""
        if self._last is None:
            self._last = await self._catalog.last_tombstone()
        while new := await self._catalog.tombstones(self._last):
            self.forget(each.ref for each in new)
            for each in new:
                self.forget_project(each.ref.entity, each.ref.project)
            self._last = new[-1].number

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Keeps what is remembered true for as long as the application runs."""
        task = self._watchdog.spawn(self._watch(), "names")
        yield
        task.cancel()
        await asyncio.wait([task])

    async def _watch(self) -> None:
        while True:
            try:
                await self.refresh()
            except (PenstockError, OSError, TimeoutError) as error:
                _LOG.warning("deletions_not_read error=%s", type(error).__name__)
            await asyncio.sleep(_EVERY_S)

    async def gone(self, project: int) -> list[int]:
        """The numbers of deleted runs of a project that the store may still have rows of."""
        return await self._catalog.gone_runs(project)

    async def keys(self, project: int, names: Iterable[str]) -> dict[str, int]:
        """The numbers of those of these keys that exist, in this order."""
        wanted = list(names)
        known = self._keys.get(project, {})
        missing = [name for name in wanted if name not in known]
        if missing and (found := await self._catalog.key_numbers(project, missing)):
            known = self._remember_keys(project, known | found)
        return {name: known[name] for name in wanted if name in known}

    async def all_keys(self, project: int) -> dict[str, int]:
        """Every key of a project by name, as of now."""
        return self._remember_keys(project, dict(await self._catalog.keys(project)))

    def _remember_keys(self, project: int, known: dict[str, int]) -> dict[str, int]:
        _bound(self._keys, _MAX_PROJECTS)
        if sum(map(len, self._keys.values())) + len(known) > _MAX_KEYS:
            self._keys.clear()
        self._keys[project] = known
        return known

    async def lanes(self, runs: Sequence[int]) -> list[LaneRow]:
        """The lanes of these runs, as of now."""
        return await self._catalog.lanes(runs)


def _bound(cache: dict[Any, Any], limit: int) -> None:
    if len(cache) >= limit:
        cache.clear()
