"""Creating runs in batches: requests that come while the catalog is busy share its next transaction.

The start of a sweep asks for hundreds of runs at once; at one transaction each, a hundred would take a
second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.errors import Rejected
from penstock_common.process.batcher import Batcher
from penstock_common.process.bounds import Owner, refusal
from penstock_storage.contracts.catalog import RunCatalog
from penstock_storage.contracts.interface import RunChange, RunRef, RunRow

__all__ = ["CreatedRun", "Creations", "ensure_run"]


async def ensure_run(catalog: RunCatalog, ref: RunRef) -> RunRow:
    """The run, created if it is missing. Raises `Rejected` (422) if there is no room for it."""
    run = (await catalog.ensure_runs([ref])).get(ref)
    if run is None:
        raise await _no_room(catalog, ref)
    return run


@dataclass(frozen=True, slots=True)
class CreatedRun:
    """A run as it is now, and whether it existed before."""

    run: RunRow
    existed: bool


@dataclass(frozen=True, slots=True)
class _Creation:
    ref: RunRef
    changes: Callable[[int], list[RunChange]]


class Creations:
    """Creates runs for one gateway process."""

    def __init__(self, catalog: RunCatalog) -> None:
        self._catalog = catalog
        self._batcher: Batcher[_Creation, CreatedRun] = Batcher(self._make)

    async def make(self, ref: RunRef, changes: Callable[[int], list[RunChange]]) -> CreatedRun:
        """Create the run if it is missing, then apply what `changes` returns for its number."""
        return await self._batcher.submit(_Creation(ref, changes))

    async def _make(self, batch: Sequence[_Creation]) -> list[CreatedRun | Exception]:
        refs = list({each.ref for each in batch})
        since = time.time_ns() // 1000
        runs = await self._catalog.ensure_runs(refs)
        changes = [
            change
            for each in batch
            if each.ref in runs
            for change in each.changes(runs[each.ref].number)
        ]
        if changes:
            await self._catalog.apply_changes(changes, time.time_ns() // 1000)
            runs |= await self._catalog.ensure_runs(list(runs))
        made: list[CreatedRun | Exception] = []
        first = set(refs)
        for each in batch:
            run = runs.get(each.ref)
            if run is None:
                made.append(await _no_room(self._catalog, each.ref))
                continue
            made.append(CreatedRun(run, run.created_at < since or each.ref not in first))
            first.discard(each.ref)
        return made


async def _no_room(catalog: RunCatalog, ref: RunRef) -> Rejected:
    entity, project = Owner("runs", ref.entity), Owner("runs", f"{ref.entity}/{ref.project}")
    return refusal(entity if entity in await catalog.at_bound([entity]) else project)
