"""The bound on the keys of a run: which keys each run has logged, as far as the bound needs it.

The keys of a run that existed before this process are counted in the store, which is cheap; they are
listed only once the run comes near the bound.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from penstock_storage.commits.run_keys import count_keys, list_keys
from penstock_storage.contracts.catalog import NameCatalog
from penstock_storage.contracts.interface import PointStore

__all__ = ["RunKeyLimit"]


class RunKeyLimit:
    """The keys of each run, at most `most` of them. Keys of values alone (texts, media) that an
    earlier process stored are not counted until the run comes near the bound."""

    def __init__(self, catalog: NameCatalog, points: PointStore, most: int) -> None:
        self._catalog = catalog
        self._points = points
        self._most = most
        self.forget()

    def forget(self) -> None:
        self._keys: dict[int, set[str]] = {}
        self._before: dict[int, int] = {}

    def has(self, run: int, key: str) -> bool:
        """Whether the run may log this key, which was given to `admit`."""
        return key in self._keys[run]

    async def count(self, runs: Collection[int]) -> None:
        """Count the stored keys of these runs, which existed before."""
        if new := [run for run in runs if run not in self._keys]:
            self._before |= await count_keys(self._points, new)

    async def admit(self, wanted: Mapping[int, Iterable[str]]) -> None:
        """Admit these further keys of each run, in their order, up to the bound."""
        for run, names in wanted.items():
            known = self._keys.setdefault(run, set())
            new = dict.fromkeys(name for name in names if name not in known)
            if self._before.get(run, 0) + len(known) + len(new) > self._most:
                await self._list(run)
                new = dict.fromkeys(name for name in new if name not in known)
            known.update(list(new)[: max(0, self._most - len(known))])

    async def _list(self, run: int) -> None:
        """From now on the keys of this run are known exactly."""
        if self._before.pop(run, 0):
            names = await self._catalog.key_names(await list_keys(self._points, run))
            self._keys[run].update(names.values())
