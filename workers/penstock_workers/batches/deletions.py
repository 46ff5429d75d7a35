"""Deleted and moved runs: before each commit, the catalog is asked where its batches belong.

A batch of a deleted run is dropped, not stored. The answer is never older than the batches that it is
about, so a batch of a later run with the same id is never taken for one of the earlier run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import RunRef, Tombstone

__all__ = ["QUEUE_WRITER", "Arrival", "BatchRouter"]

QUEUE_WRITER = "http-"
"""The prefix of the writers of JSON rows, whose batches the queue numbers."""

_MAX_RUNS = 200_000
_MAX_MOVES = 100
"""A run that was moved more often in a row is no longer followed."""


class Arrival(NamedTuple):
    """What identifies a batch's run: see `Tombstone.refuses`."""

    ref: RunRef
    writer: str
    started: int
    received: int


class BatchRouter:
    """Routes batches by the tombstones of their runs."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._last: int | None = None
        self._known: dict[RunRef, list[Tombstone]] = {}
        self._listeners: list[Callable[[RunRef], None]] = []

    def listen(self, listener: Callable[[RunRef], None]) -> None:
        """Call this with the name of every run that turns out to be deleted or moved."""
        self._listeners.append(listener)

    async def refresh(self) -> None:
        """Read the tombstones that are new since the last time."""
        if self._last is None:
            self._last = await self._catalog.last_tombstone()
        while new := await self._catalog.tombstones(self._last):
            for tombstone in new:
                if tombstone.ref in self._known:
                    self._known[tombstone.ref].append(tombstone)
                for listener in self._listeners:
                    listener(tombstone.ref)
            self._last = new[-1].number

    async def places(self, arrivals: Sequence[Arrival]) -> list[RunRef | None]:
        """Where each batch belongs: its own run, the one that it was moved to, or nowhere."""
        await self.refresh()
        known = await self._of({each.ref for each in arrivals})
        tombstones = {ref: own for ref, own in known.items() if own}
        if not tombstones:
            return [each.ref for each in arrivals]
        live = await self._catalog.numbers_of(list(tombstones))
        found: list[RunRef | None] = []
        for each in arrivals:
            tombstone = next(
                (
                    tombstone
                    for tombstone in tombstones.get(each.ref, ())
                    if tombstone.refuses(
                        each.writer, each.started, each.received, is_live=each.ref in live
                    )
                ),
                None,
            )
            found.append(each.ref if tombstone is None else await self._moved_to(tombstone))
        return found

    async def _moved_to(self, tombstone: Tombstone) -> RunRef | None:
        """Where the run is now, after any number of moves."""
        for _ in range(_MAX_MOVES):
            if not tombstone.moved_to:
                return None
            rows = await self._catalog.run_rows([tombstone.moved_to])
            if row := rows.get(tombstone.moved_to):
                return RunRef(row.entity, row.project, row.run)
            further = await self._catalog.tombstones_by_run([tombstone.moved_to])
            if not further:
                return None
            tombstone = further[0]
        return None

    def of(self, ref: RunRef) -> list[Tombstone]:
        """The tombstones of a run that `places` was asked about."""
        return self._known.get(ref, [])

    async def _of(self, refs: Iterable[RunRef]) -> dict[RunRef, list[Tombstone]]:
        wanted = list(refs)
        if missing := [ref for ref in wanted if ref not in self._known]:
            if len(self._known) > _MAX_RUNS:
                self._known.clear()
                missing = wanted
            found = await self._catalog.tombstones_of(missing)
            self._known |= {ref: found.get(ref, []) for ref in missing}
        return {ref: self._known[ref] for ref in wanted}
