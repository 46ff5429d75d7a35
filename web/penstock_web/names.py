"""Resolves names to the point store's numbers of runs and keys, through the catalog, with a cache.

A number never changes its meaning, so cached entries stay valid until they are deleted: Redis
announces deletions at once, and the catalog is checked every second as well while there are requests. Misses are not cached.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from aiohttp import web

from penstock.errors import PenstockError
from penstock_common.process.activity import Activity
from penstock_common.process.watchdog import Watchdog
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import LaneRow, RunRef, RunRow
from penstock_web.access import not_found

__all__ = ["Names"]

_LOG = logging.getLogger(__name__)
_EVERY_S, _REST_S = 1.0, 10.0
_MAX_RUNS = 100_000
_MAX_PROJECTS = 1_000
_MAX_KEYS = 500_000


class Names:
    """Looks names up in the catalog and caches the answers."""

    def __init__(
        self,
        catalog: Catalog,
        watchdog: Watchdog | None = None,
        activity: Activity | None = None,
    ) -> None:
        self._catalog = catalog
        self._activity = activity or Activity()
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
        """The numbers of the existing ones among these runs, in this order."""
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
        """Cache the numbers of runs that were read for another purpose."""
        _bound(self._runs, _MAX_RUNS)
        for row in rows:
            self._runs[row.entity, row.project, row.run] = row.number

    def forget(self, runs: Iterable[RunRef]) -> None:
        """Forget deleted or moved runs: any run with such a name is another one."""
        for ref in runs:
            self._runs.pop(ref, None)

    def forget_project(self, entity: str, project: str) -> None:
        """Forget a deleted project."""
        self._projects.pop((entity, project), None)

    async def refresh(self) -> None:
        """Forget what was deleted since the last call."""
        if self._last is None:
            self._last = await self._catalog.last_tombstone()
        while new := await self._catalog.tombstones(self._last):
            self.forget(each.ref for each in new)
            for each in new:
                self.forget_project(each.ref.entity, each.ref.project)
            self._last = new[-1].number

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Keep the cache valid while the application runs."""
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
            await self._activity.pause(_EVERY_S, _REST_S)

    async def gone(self, project: int) -> list[int]:
        """The numbers of a project's deleted runs of which the store may still have rows."""
        return await self._catalog.gone_runs(project)

    async def keys(self, project: int, names: Iterable[str]) -> dict[str, int]:
        """The numbers of the existing ones among these keys, in this order."""
        wanted = list(names)
        known = self._keys.get(project, {})
        missing = [name for name in wanted if name not in known]
        if missing and (found := await self._catalog.key_numbers(project, missing)):
            known = self._remember_keys(project, known | found)
        return {name: known[name] for name in wanted if name in known}

    async def all_keys(self, project: int) -> dict[str, int]:
        """Every current key of a project, by name."""
        return self._remember_keys(project, {**await self._catalog.keys(project)})

    def _remember_keys(self, project: int, known: dict[str, int]) -> dict[str, int]:
        _bound(self._keys, _MAX_PROJECTS)
        if sum(map(len, self._keys.values())) + len(known) > _MAX_KEYS:
            self._keys.clear()
        self._keys[project] = known
        return known

    async def lanes(self, runs: Sequence[int]) -> list[LaneRow]:
        """The current lanes of these runs."""
        return await self._catalog.lanes(runs)


def _bound(cache: dict[Any, Any], limit: int) -> None:
    if len(cache) >= limit:
        cache.clear()
