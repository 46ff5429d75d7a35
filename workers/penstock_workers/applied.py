"""Which batches of a writer are in the store: a low-water mark and the numbers above it.

The only state behind exactly-once. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["AppliedSet"]


class AppliedSet:
    """Every number <= `low`, and those in `gaps`, are in the store; `dead` ones are marked, not
    stored."""

    __slots__ = ("dead", "gaps", "lane", "low")

    def __init__(
        self, lane: int, low: int = 0, gaps: Iterable[int] = (), dead: Iterable[int] = ()
    ) -> None:
        self.lane = lane
        self.low = low
        self.gaps = set(gaps)
        self.dead = set(dead)
        self._advance()

    def __contains__(self, seq: int) -> bool:
        return seq <= self.low or seq in self.gaps

    def add(self, seq: int, *, acked: int = 0) -> None:
        """Note that `seq` is in the store. `acked` is what the writer was told and has freed: it
        can never come again, so the mark may pass it even if this store lost it."""
        self.gaps.add(seq)
        self.low = max(self.low, acked)
        self._advance()

    def bury(self, numbers: Iterable[int]) -> None:
        """These were put aside before the store knew this writer."""
        for seq in numbers:
            if seq not in self:
                self.dead.add(seq)
                self.gaps.add(seq)
        self._advance()

    def _advance(self) -> None:
        self.gaps = {seq for seq in self.gaps if seq > self.low}
        while self.low + 1 in self.gaps:
            self.low += 1
            self.gaps.discard(self.low)
