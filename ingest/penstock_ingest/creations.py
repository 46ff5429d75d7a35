"""Making runs in groups: requests that come while the catalog is at work share its next transactions.

A sweep's start asks for hundreds of runs at once; one transaction each would take a second per hundred.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.errors import Rejected
from penstock_common.bounds import Owner, refusal
from penstock_common.together import Together
from penstock_storage.interface import Catalog, RunChange, RunRef, RunRow

__all__ = ["Creations", "Made", "ensure_run"]


async def ensure_run(catalog: Catalog, ref: RunRef) -> RunRow:
    """The run, made if it is missing. Raises `Rejected` (422) if there is no room for it."""
    run = (await catalog.ensure_runs([ref])).get(ref)
    if run is None:
        raise await _no_room(catalog, ref)
    return run


@dataclass(frozen=True, slots=True)
class Made:
    """A run as it is now, and whether it was there before."""

    run: RunRow
    existed: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    ref: RunRef
    changes: Callable[[int], list[RunChange]]


class Creations:
    """The runs that one gateway process makes."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._together: Together[_Asked, Made] = Together(self._make)

    async def make(self, ref: RunRef, changes: Callable[[int], list[RunChange]]) -> Made:
        """Create the run if it is missing, and apply the changes that `changes` makes of its number."""
        return await self._together.ask(_Asked(ref, changes))

    async def _make(self, group: Sequence[_Asked]) -> list[Made | Exception]:
        refs = list({asked.ref for asked in group})
        since = time.time_ns() // 1000
        runs = await self._catalog.ensure_runs(refs)
        changes = [
            change
            for asked in group
            if asked.ref in runs
            for change in asked.changes(runs[asked.ref].number)
        ]
        if changes:
            await self._catalog.apply_changes(changes, time.time_ns() // 1000)
            runs |= await self._catalog.ensure_runs(list(runs))
        made: list[Made | Exception] = []
        first = set(refs)
        for asked in group:
            run = runs.get(asked.ref)
            if run is None:
                made.append(await _no_room(self._catalog, asked.ref))
                continue
            made.append(Made(run, run.created_at < since or asked.ref not in first))
            first.discard(asked.ref)
        return made


async def _no_room(catalog: Catalog, ref: RunRef) -> Rejected:
    entity, project = Owner("runs", ref.entity), Owner("runs", f"{ref.entity}/{ref.project}")
    return refusal(entity if entity in await catalog.at_bound([entity]) else project)
