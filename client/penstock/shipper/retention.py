"""Retention of a spool's segments: they are deleted some time after they are committed."""

from __future__ import annotations

from pathlib import Path

from penstock.failpoints import fail
from penstock.shipper.cuts import CutLog
from penstock.shipper.delivery import Delivery
from penstock.spool.record import Position, segment_name

__all__ = ["SegmentRetention"]


class SegmentRetention:
    """Releases the segments of one spool, oldest first."""

    def __init__(self, folder: Path, first_segment: int) -> None:
        self._folder = folder
        self._released_to = first_segment - 1
        self._committed_at: dict[int, float] = {}

    def release(
        self, delivery: Delivery, cuts: CutLog, cursor: Position, now: float, keep_s: float
    ) -> None:
        """Delete segments that have contained nothing uncommitted for `keep_s`."""
        # The cuts of a split batch may be at lower offsets than cuts with lower numbers.
        uncommitted = range(delivery.progress.committed + 1, cuts.last + 1)
        needed = min([cursor.segment, *(cuts.cuts[seq].start.segment for seq in uncommitted)])
        for number in range(self._released_to + 1, needed):
            self._committed_at.setdefault(number, now)
        for number, since in sorted(self._committed_at.items()):
            if number >= needed:  # once committed, but to a store that has been replaced
                del self._committed_at[number]
                continue
            if now - since < keep_s:
                break
            fail("shipper.before_free")
            (self._folder / segment_name(number)).unlink(missing_ok=True)
            del self._committed_at[number]
            self._released_to = number
            self._note(delivery, cuts)

    def _note(self, delivery: Delivery, cuts: CutLog) -> None:
        released = delivery.progress.released
        while (
            released < delivery.progress.committed
            and cuts.cuts[released + 1].start.segment <= self._released_to
        ):
            released += 1
        delivery.released_to(released)
