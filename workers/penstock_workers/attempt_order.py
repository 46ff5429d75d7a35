"""Whose attempt was resumed by a later one: what such a writer still sends comes late. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock_storage.contracts.lanes import LaneRow

__all__ = ["AttemptOrder"]


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
        known = self._lanes.get((run, lane))
        if known is None:
            return False
        newest = self._resumed.get((run, known.rank))
        return newest is not None and known.order < newest
