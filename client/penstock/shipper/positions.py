"""What the server says of one writer: what is queued, what the store has, and in which of them.

`committed` only grows as long as queue and store are the same. If it falls, or another store
answers, the store was replaced by an older copy: the lower mark is taken and what is still held is
sent again. What is no longer held is counted, and the server is told not to wait for it.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from penstock.progress import Progress
from penstock.shipper.cuts import CutLog

__all__ = ["PositionTracker"]

log = logging.getLogger(__name__)


class PositionTracker:
    """Keeps one spool's `progress` in step with the replies."""

    def __init__(self, run: str, progress: Progress, cuts: CutLog) -> None:
        self.reply_count = 0
        """How many replies were taken in."""
        self.advanced_at = time.monotonic()
        """When the store was last seen to have taken something."""
        self._run = run
        self._progress = progress
        self._cuts = cuts
        self._announced: tuple[str, str, int] | None = None

    def must_announce_release(self, reply: dict[str, Any]) -> bool:
        """Whether the server waits for freed numbers and was not told so yet."""
        committed = self._committed(reply)
        if committed is None or committed >= self._progress.released:
            return False
        return self._announced != self._place(reply)

    def acknowledge(self, reply: dict[str, Any]) -> None:
        """Take in what a reply says of queue, store and committed."""
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
        """Send again what the store has not taken although it was asked for so long."""
        if now - self.advanced_at > after_s:
            log.warning("%s: no progress for a long time, sending again", self._run)
            self.advanced_at = now
            self.send_again()

    def send_again(self) -> None:
        """Everything that is not committed."""
        self._progress.queued = self._progress.committed

    def _committed(self, reply: dict[str, Any]) -> int | None:
        """What is committed by this reply; None if it does not say."""
        committed = reply.get("committed")
        if isinstance(committed, int):
            return min(committed, self._cuts.last)
        store = str(reply.get("store") or "")
        # Another store, of which the queue knows nothing yet: it is taken to have nothing.
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
