"""Whose attempt was resumed by a later one: what such a writer still sends comes late. Pure.

A process that joins a run that still goes on, such as an evaluation, may say that it resumes it. Rows
that the other one logs after that prove it wrong: then the two log beside each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.wire import Frame
from penstock_storage.contracts.lanes import LaneRow

__all__ = ["AttemptOrder"]

_OVERLAP_US = 10_000_000
"""A process that is being stopped may go on for so long while the next one starts elsewhere."""


class AttemptOrder:
    """The lanes of the writers that a worker knows, and the newest attempt that resumed each rank."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[int, int], LaneRow] = {}
        self._resumed: dict[tuple[int, int], tuple[int, int]] = {}

    def learn(
        self, lanes: Iterable[LaneRow], resumed: Mapping[tuple[int, int], tuple[int, int]]
    ) -> None:
        """`resumed` has the order of the newest resuming lane by (run, rank), of all runs of `lanes`."""
        self._lanes.update({(lane.run, lane.lane): lane for lane in lanes})
        self._resumed.update(resumed)

    def is_replaced(self, run: int, lane: int) -> bool:
        """Whether a later attempt has resumed the one of this lane."""
        return self._resumed_by(run, lane) is not None

    def outlived(self, run: int, lane: int, frame: Frame) -> int | None:
        """The lane that says that it has resumed this one, if this one logged rows of this frame after
        that; else None."""
        newest = self._resumed_by(run, lane)
        if newest is None or not frame.times:
            return None
        began, resuming = newest
        at = self._lanes[run, lane].by_server_clock(max(memoryview(frame.times).cast("q")))
        return resuming if at > began + _OVERLAP_US else None

    def set_outlived(self, run: int, lane: int) -> None:
        """This lane has resumed nothing after all."""
        for place, (_, resuming) in list(self._resumed.items()):
            if place[0] == run and resuming == lane:
                del self._resumed[place]

    def _resumed_by(self, run: int, lane: int) -> tuple[int, int] | None:
        known = self._lanes.get((run, lane))
        newest = self._resumed.get((run, known.rank)) if known is not None else None
        return newest if newest is not None and known is not None and known.order < newest else None
