"""Which batches of a writer are committed to the store: a low watermark and the numbers above it.

The worker dedupes by this: it is the only state behind exactly-once. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["CommittedSeqs"]


class CommittedSeqs:
    """Every number <= `low`, and those in `gaps`, are in the store; `dead` ones were dead-lettered
    instead."""

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

    def add(self, seq: int, *, released: int = 0) -> None:
        """Note that `seq` is in the store, also if it was dead. The writer has deleted everything up to
        `released` and cannot send it again, so `low` may pass it even if this store lost it."""
        self.dead.discard(seq)
        self._pass(seq, released)

    def add_dead(self, seq: int, *, released: int = 0) -> None:
        """Note that `seq` is dead-lettered; `released` as in `add`."""
        self.dead.add(seq)
        self._pass(seq, released)

    def _pass(self, seq: int, released: int) -> None:
        self.gaps.add(seq)
        self.low = max(self.low, released)
        self._advance()

    def mark_dead(self, numbers: Iterable[int]) -> None:
        """These were dead-lettered before the store knew this writer."""
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
