"""Making runs in groups: requests that come while the catalog is at work share its next transactions.

A sweep's start asks for hundreds of runs at once; one transaction each would take a second per hundred.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from penstock_storage.interface import Catalog, RunChange, RunRef, RunRow

__all__ = ["Creations", "Made"]

_MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Made:
    """A run as it is now, and whether it was there before."""

    run: RunRow
    existed: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    ref: RunRef
    changes: Callable[[int], list[RunChange]]
    answer: asyncio.Future[Made]


class Creations:
    """The runs that one gateway process makes."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._waiting: list[_Asked] = []
        self._turn = asyncio.Lock()

    async def make(self, ref: RunRef, changes: Callable[[int], list[RunChange]]) -> Made:
        """Create the run if it is missing, and apply the changes that `changes` makes of its number.

        Whoever has the turn works for all that wait.
        """
        asked = _Asked(ref, changes, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        try:
            async with self._turn:
                if not asked.answer.done():
                    await self._work()
            return await asked.answer
        finally:
            # One that left is not waited for; one that failed has been told.
            if asked in self._waiting:
                self._waiting.remove(asked)
            asked.answer.cancel()

    async def _work(self) -> None:
        group = self._waiting[:_MOST_AT_ONCE]
        try:
            made = await self._make(group)
        except Exception as error:
            # A seam: everyone in the group is answered, each request with an error of its own.
            for asked in group:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
        else:
            for asked, each in zip(group, made, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(each)
        self._waiting = [asked for asked in self._waiting if not asked.answer.done()]

    async def _make(self, group: list[_Asked]) -> list[Made]:
        refs = list({asked.ref for asked in group})
        since = time.time_ns() // 1000
        runs = await self._catalog.ensure_runs(refs)
        changes = [
            change for asked in group for change in asked.changes(runs[asked.ref].number)
        ]  # fmt: skip
        if changes:
            await self._catalog.apply_changes(changes, time.time_ns() // 1000)
            runs |= await self._catalog.ensure_runs(refs)
        made, first = [], set(refs)
        for asked in group:
            run = runs[asked.ref]
            made.append(Made(run, run.created_at < since or asked.ref not in first))
            first.discard(asked.ref)
        return made
