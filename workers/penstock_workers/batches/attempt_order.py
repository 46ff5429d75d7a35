"""Whose attempt was replaced by a later one: what such a writer still sends comes late. Pure.

A process that joins a run may be taken for a new attempt although the earlier one goes on, such as an
evaluation that says that it resumes the run. Rows that the other one logs after that prove it wrong:
then the two log beside each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.wire import Frame
from penstock_storage.contracts.lanes import LaneRow

__all__ = ["AttemptOrder"]

_OVERLAP_US = 10_000_000
"""How long a process that is being stopped may go on while the next one starts elsewhere."""


class AttemptOrder:
    """The lanes of the writers that a worker knows, and the newest attempt of each rank."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[int, int], LaneRow] = {}
        self._newest: dict[tuple[int, int], LaneRow] = {}

    def learn(self, lanes: Iterable[LaneRow], newest: Mapping[tuple[int, int], LaneRow]) -> None:
        """`newest` has the newest lane that replaces earlier ones, by (run, rank), for all of `lanes`."""
        self._lanes.update({(lane.run, lane.lane): lane for lane in lanes})
        self._newest.update(newest)

    def is_replaced(self, run: int, lane: int) -> bool:
        """Whether a later attempt has replaced the one of this lane."""
        return self._replaced_by(run, lane) is not None

    def outlived(self, run: int, lane: int, frame: Frame) -> set[tuple[int, int]]:
        """The lane (run, lane) that is taken for a later attempt than this one, if this one logged rows of
        this frame long after the other began."""
        newer = self._replaced_by(run, lane)
        if newer is None or not frame.times:
            return set()
        at = self._lanes[run, lane].by_server_clock(max(memoryview(frame.times).cast("q")))
        return {(run, newer.lane)} if at > newer.start.began + _OVERLAP_US else set()

    def forget(self, run: int, lane: int) -> set[tuple[int, int]]:
        """This lane has replaced nothing after all; returns its (run, rank), whose newest attempt is another
        one."""
        places = {
            place for place, each in self._newest.items() if (each.run, each.lane) == (run, lane)
        }
        for place in places:
            del self._newest[place]
        return places

    def _replaced_by(self, run: int, lane: int) -> LaneRow | None:
        known = self._lanes.get((run, lane))
        if known is None or not known.start.began:
            return None
        newest = self._newest.get((run, known.rank))
        return newest if newest is not None and known.order < newest.order else None
