"""Digests of batches: dedupe drops a repeat only if its content is the same; another content under the
same number is a conflict."""

from __future__ import annotations

from collections.abc import Iterable

from penstock_storage.commits.batch_digests import BatchId, read_digests
from penstock_storage.contracts.interface import PointStore

__all__ = ["Digests"]


class Digests:
    """Digests of the batches in this worker's last two commits, which may not be stored yet, and of
    those in the store."""

    def __init__(self, points: PointStore) -> None:
        self._points = points
        self.forget()

    def forget(self) -> None:
        """Know only what the store knows."""
        self._before: dict[BatchId, int] = {}
        self._now: dict[BatchId, int] = {}

    def turn(self) -> None:
        """A new commit begins; the one before the last is in the store."""
        self._before, self._now = self._now, {}

    def note(self, batch: BatchId, digest: int) -> None:
        """This batch is part of the commit that began last."""
        self._now[batch] = digest

    def recent(self, batch: BatchId) -> int | None:
        return self._now.get(batch, self._before.get(batch))

    async def stored(self, batches: Iterable[BatchId]) -> dict[BatchId, int]:
        """The digests of the batches among these that the store has."""
        return await read_digests(self._points, batches)
