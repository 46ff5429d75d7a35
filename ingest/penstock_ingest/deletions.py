"""Deleted runs: batches of these are refused, so that their senders stop.

Tombstones are read in the background, so that no batch waits for them. Batches that arrive before the
gateway knows of a deletion are dropped by the worker.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from penstock.error_codes import ErrorCode
from penstock.errors import PenstockError, Rejected
from penstock_common.process.activity import Activity
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import RunRef, Tombstone

__all__ = ["DeletedRuns"]

_LOG = logging.getLogger(__name__)
_EVERY_S, _REST_S = 1.0, 10.0
_MAX_TOMBSTONES = 200_000
"""Kept here, the newest ones: writers of older ones are left to the worker."""


class DeletedRuns:
    """The tombstones of deleted runs. Moved runs are not refused: the worker knows where their batches
    belong."""

    def __init__(self, catalog: Catalog, activity: Activity | None = None) -> None:
        self._catalog = catalog
        self._activity = activity or Activity()
        self._last: int | None = None
        self._by_ref: dict[RunRef, list[Tombstone]] = {}

    async def watch(self) -> None:
        """Refresh until cancelled."""
        while True:
            try:
                await self.refresh()
            except (PenstockError, OSError, TimeoutError) as error:
                _LOG.warning("deletions_not_read error=%s", type(error).__name__)
            await self._activity.pause(_EVERY_S, _REST_S)

    async def refresh(self) -> None:
        """Read the tombstones that are new since the last time."""
        if self._last is None:
            self._last = max(0, await self._catalog.last_tombstone() - _MAX_TOMBSTONES)
        while new := await self._catalog.tombstones(self._last):
            for each in new:
                if not each.moved_to:
                    self._by_ref.setdefault(each.ref, []).append(each)
            self._last = new[-1].number
        while len(self._by_ref) > _MAX_TOMBSTONES:
            del self._by_ref[next(iter(self._by_ref))]

    def knows(self, ref: RunRef) -> bool:
        """Whether a run of this name was ever deleted: only then the other checks are needed."""
        return ref in self._by_ref

    async def check_batch(self, ref: RunRef, writer: str, started: int, received: int) -> None:
        """Raises `Rejected` (410) for a batch that belongs to a deleted run."""
        is_live = bool(await self._catalog.numbers_of([ref]))
        for each in self._by_ref.get(ref, ()):
            if each.refuses(writer, started, received, is_live=is_live):
                raise _refusal(each)

    async def check_writer(self, ref: RunRef, writer: str) -> None:
        """Raises `Rejected` (410) for a writer of a deleted run."""
        tombstones = self._by_ref.get(ref, ())
        for each in tombstones:
            if writer in each.writers and not writer.startswith("http-"):
                raise _refusal(each)
        if tombstones and not await self._catalog.numbers_of([ref]):
            raise _refusal(tombstones[-1])


def _refusal(tombstone: Tombstone) -> Rejected:
    at = datetime.fromtimestamp(tombstone.deleted_at / 1e6, UTC)
    return Rejected(
        f"run {'/'.join(tombstone.ref)} was deleted on {at:%Y-%m-%d at %H:%M:%S} UTC",
        code=ErrorCode.DELETED,
        hint="The server accepts no more data of it. A new run may use its id.",
    )
