"""Which keys each run has logged, as far as the bound on them needs to know.

A run that was there before this process is counted in the store, which is cheap; its keys are listed
only once it comes near the bound.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from penstock_storage.interface import Catalog, PointStore

__all__ = ["RunKeyLimit"]

_COUNTS = """
SELECT run, uniqExact(key) AS keys FROM penstock.series
WHERE run IN {runs:Array(UInt32)} GROUP BY run
"""
_LISTED = """
SELECT DISTINCT key FROM penstock.series WHERE run = {run:UInt32}
UNION DISTINCT
SELECT DISTINCT key FROM penstock.values WHERE run = {run:UInt32}
"""


class RunKeyLimit:
    """The keys of each run, at most `most` of them. Keys of values alone (texts, media) that an
    earlier process stored are not counted until the run comes near the bound."""

    def __init__(self, catalog: Catalog, points: PointStore, most: int) -> None:
        self._catalog = catalog
        self._points = points
        self._most = most
        self.forget()

    def forget(self) -> None:
        self._keys: dict[int, set[str]] = {}
        self._before: dict[int, int] = {}

    def has(self, run: int, key: str) -> bool:
        """Whether the run may log this key; `admit` was asked about it."""
        return key in self._keys[run]

    async def count(self, runs: Collection[int]) -> None:
        """Count what the store has of these runs, which were there before."""
        if new := [run for run in runs if run not in self._keys]:
            found = await self._points.query(_COUNTS, {"runs": new})
            for run, keys in zip(found["run"], found["keys"], strict=True):
                self._before[int(run)] = int(keys)

    async def admit(self, wanted: Mapping[int, Iterable[str]]) -> None:
        """Let each run have these keys too, as many as there is room for, in their order."""
        for run, names in wanted.items():
            known = self._keys.setdefault(run, set())
            new = dict.fromkeys(name for name in names if name not in known)
            if self._before.get(run, 0) + len(known) + len(new) > self._most:
                await self._list(run)
                new = dict.fromkeys(name for name in new if name not in known)
            known.update(list(new)[: max(0, self._most - len(known))])

    async def _list(self, run: int) -> None:
        """From here on the keys of this run are known exactly."""
        if self._before.pop(run, 0):
            found = await self._points.query(_LISTED, {"run": run})
            names = await self._catalog.key_names([int(key) for key in found["key"]])
            self._keys[run].update(names.values())
