"""Names to numbers: what the point store knows runs and keys by, from the catalog, remembered.

A number never changes its meaning, so what was found stays true; what was not found is looked up
again. Both caches are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from penstock_storage.interface import Catalog, LaneRow, RunRow
from penstock_web.access import not_found

__all__ = ["Names"]

_RUNS = 100_000
_PROJECTS = 1_000


class Names:
    """Looks names up in the catalog, and remembers the answers."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._projects: dict[tuple[str, str], int] = {}
        self._runs: dict[tuple[str, str, str], int] = {}
        self._keys: dict[int, dict[str, int]] = {}

    async def project(self, entity: str, project: str) -> int:
        """The number of a project. Raises `Rejected` (404)."""
        number = self._projects.get((entity, project))
        if number is None:
            number = await self._catalog.project_number(entity, project)
        if number is None:
            raise not_found(f"project {entity}/{project}")
        _bound(self._projects, _PROJECTS)
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
            _bound(self._runs, _RUNS)
            self._runs |= {(entity, project, name): own for name, own in found.items()}
            known |= found
        return {name: known[name] for name in names if name in known}

    def remember(self, rows: Iterable[RunRow]) -> None:
        """Take over the numbers of runs that were read for another reason."""
        _bound(self._runs, _RUNS)
        for row in rows:
            self._runs[row.entity, row.project, row.run] = row.number

    async def keys(self, project: int, names: Iterable[str]) -> dict[str, int]:
        """The numbers of those of these keys that exist, in this order."""
        wanted = list(names)
        known = self._keys.get(project, {})
        missing = [name for name in wanted if name not in known]
        if missing and (found := await self._catalog.key_numbers(project, missing)):
            _bound(self._keys, _PROJECTS)
            known = self._keys[project] = known | found
        return {name: known[name] for name in wanted if name in known}

    async def all_keys(self, project: int) -> dict[str, int]:
        """Every key of a project by name, as of now."""
        _bound(self._keys, _PROJECTS)
        known = self._keys[project] = await self._catalog.keys(project)
        return known

    async def lanes(self, runs: Sequence[int]) -> list[LaneRow]:
        """The lanes of these runs, as of now."""
        return await self._catalog.lanes(runs)


def _bound(cache: dict[Any, Any], limit: int) -> None:
    if len(cache) >= limit:
        cache.clear()
