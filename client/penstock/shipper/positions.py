"""Tracks a writer's position: what is queued, what is committed, and in which queue and store.

While queue and store stay the same, `committed` only grows. If it falls, or another store answers,
the store was replaced by an older copy: the lower position is adopted and everything still held is
sent again. Released batches count as lost, and the shipper tells the server not to wait for them.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from penstock.shipper.cuts import CutLog
from penstock.spool.progress import Progress

__all__ = ["PositionTracker"]

log = logging.getLogger(__name__)


class PositionTracker:
    """Updates one spool's `progress` from the server's replies."""

    def __init__(self, run: str, progress: Progress, cuts: CutLog) -> None:
        self.reply_count = 0
        """Number of replies processed."""
        self.advanced_at = time.monotonic()
        """When the committed position last advanced."""
        self._run = run
        self._progress = progress
        self._cuts = cuts
        self._announced: tuple[str, str, int] | None = None

    def must_announce_release(self, reply: dict[str, Any]) -> bool:
        """Whether the server still waits for numbers that were released."""
        committed = self._committed(reply)
        if committed is None or committed >= self._progress.released:
            return False
        return self._announced != self._place(reply)

    def acknowledge(self, reply: dict[str, Any]) -> None:
        """Process a reply's queue, store and committed position."""
        self.reply_count += 1
        progress = self._progress
        committed = self._committed(reply)
        if committed is not None:
            store = str(reply.get("store") or "")
            replaced = bool(store and progress.store and store != progress.store)
            fallen = replaced or committed < progress.acknowledged
            if committed < progress.released and self._announced != self._place(reply):
                self._count_lost(committed)
                self._announced = self._place(reply)
            if committed > progress.acknowledged:
                self.advanced_at = time.monotonic()
            progress.acknowledged = committed
            progress.committed = max(committed, progress.released)
            progress.store = store or progress.store
            if fallen and progress.committed < progress.queued:
                log.warning(
                    "%s: the store has less than before, sending from %d", self._run, committed + 1
                )
                self.send_again()
        queue = str(reply.get("queue") or "")
        if queue and progress.queue and queue != progress.queue:
            log.warning("%s: the queue was replaced, sending again", self._run)
            self.send_again()
        progress.queue = queue or progress.queue
        progress.queued = max(progress.queued, progress.committed)
        if progress.acknowledged < self._cuts.last:
            progress.done = False

    def stalled(self, now: float, after_s: float) -> None:
        """Send everything uncommitted again after too long without progress."""
        if now - self.advanced_at > after_s:
            log.warning("%s: no progress for a long time, sending again", self._run)
            self.advanced_at = now
            self.send_again()

    def send_again(self) -> None:
        """Queue everything uncommitted for sending."""
        self._progress.queued = self._progress.committed

    def _committed(self, reply: dict[str, Any]) -> int | None:
        """The committed position in this reply; None if it has none."""
        committed = reply.get("committed")
        if isinstance(committed, int):
            return min(committed, self._cuts.last)
        store = str(reply.get("store") or "")
        # Another store that the queue knows nothing about yet is assumed to be empty.
        return 0 if store and self._progress.store and store != self._progress.store else None

    def _place(self, reply: dict[str, Any]) -> tuple[str, str, int]:
        progress = self._progress
        store, queue = str(reply.get("store") or ""), str(reply.get("queue") or "")
        return store or progress.store, queue or progress.queue, progress.released

    def _count_lost(self, committed: int) -> None:
        progress = self._progress
        lost = range(committed + 1, progress.released + 1)
        points = sum(self._cuts.cuts[seq].points for seq in lost)
        progress.lost_batches = max(progress.lost_batches, len(lost))
        progress.lost_points = max(progress.lost_points, points)
        log.error(
            "%s: the store lacks %d batches with %d points that are no longer kept on this machine",
            self._run, len(lost), points,
        )  # fmt: skip
