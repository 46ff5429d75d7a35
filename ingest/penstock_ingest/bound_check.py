"""Refuses runs and writers beyond a bound that workers reported as reached.

Costs nothing while no bound is reached. Batches that arrive before the gateway knows are dead-lettered
by the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from penstock_common.process.bounds import Owner, refusal
from penstock_common.queue.redis_keys import run_path
from penstock_ingest.positions import WriterPositions
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import RunRef

__all__ = ["BoundCheck"]

_MAX_KNOWN = 100_000


class BoundCheck:
    """Refuses new runs and writers of owners at their bound. Existing ones continue."""

    def __init__(
        self,
        catalog: Catalog,
        positions: WriterPositions,
        at_bound: Callable[[], Collection[Owner]],
    ) -> None:
        self._catalog = catalog
        self._positions = positions
        self._at_bound = at_bound
        self._known: set[tuple[RunRef, str]] = set()

    @property
    def is_scarce(self) -> bool:
        """Whether any bound is reached."""
        return bool(self._at_bound())

    async def check(self, ref: RunRef, writer: str = "") -> None:
        """Raises `Rejected` (422) if this run or writer is new and beyond a bound; without a writer, for
        the one whose batches the queue numbers."""
        full = self._at_bound()
        if not full:
            self._known.clear()
            return
        runs = _first(full, Owner("runs", ref.entity), Owner("runs", f"{ref.entity}/{ref.project}"))
        writers = _first(full, Owner("writers", ref.entity), Owner("writers", run_path(*ref)))
        if runs is None and writers is None:
            return
        writer = writer or await self._positions.queue_writer(ref)
        if (ref, writer) in self._known:
            return
        number = (await self._catalog.numbers_of([ref])).get(ref)
        if number is None and await self._is_moved(ref):
            return  # the worker knows where to
        if number is None and runs is not None:
            raise refusal(runs)
        if writers is not None and (
            number is None or not await self._catalog.known_writers([(number, writer)])
        ):
            raise refusal(writers)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known.add((ref, writer))

    async def _is_moved(self, ref: RunRef) -> bool:
        tombstones = (await self._catalog.tombstones_of([ref])).get(ref, [])
        return any(each.moved_to for each in tombstones)


def _first(full: Collection[Owner], *owners: Owner) -> Owner | None:
    return next((owner for owner in owners if owner in full), None)
