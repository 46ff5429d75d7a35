"""Attempts of a run: which steps of each lane count, computed on reading. Pure.

The lanes of a rank are ordered by when their writers began, by the server's clock. One that resumes the
run replaces the earlier ones from the step at which it says that it resumes; one that logs beside
others replaces nothing; and one that says nothing, such as a script that is started again from the
beginning, from its own first step on. So the latest attempt is every lane up to where a later lane of
its rank replaces it. No point is ever deleted or hidden for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

from penstock_storage.contracts.lanes import BESIDE, RESUME, LaneRow

__all__ = ["LaneId", "attempt_ends", "contested_runs", "lane_order"]

LaneId = tuple[int, int]
"""(run, lane)"""


def lane_order(lane: LaneRow) -> tuple[int, int, tuple[int, int]]:
    """Sorts lanes by run and rank, and those of a rank from the oldest attempt to the newest."""
    return lane.run, lane.rank, lane.order


def contested_runs(lanes: Iterable[LaneRow]) -> set[int]:
    """Runs in which a rank has several lanes: only there can a later attempt end an earlier one."""
    seen: set[tuple[int, int]] = set()
    contested = set()
    for lane in lanes:
        if (lane.run, lane.rank) in seen:
            contested.add(lane.run)
        seen.add((lane.run, lane.rank))
    return contested


def attempt_ends(lanes: Iterable[LaneRow], first_steps: Mapping[LaneId, int]) -> dict[LaneId, int]:
    """The step before which each lane ends in the latest attempt; lanes without such an end are absent.

    `first_steps` has the lowest step of each lane over all of its keys; a lane that is missing
    there holds no points yet and ends nothing.
    """
    ends: dict[LaneId, int] = {}
    for _, attempts in groupby(sorted(lanes, key=lane_order), lambda lane: (lane.run, lane.rank)):
        later: int | None = None
        for lane in reversed(list(attempts)):
            first = first_steps.get((lane.run, lane.lane))
            if first is None:
                continue
            if later is not None:
                ends[lane.run, lane.lane] = later
            replaced = _replaced_from(lane, first)
            if replaced is not None:
                later = replaced if later is None else min(later, replaced)
    return ends


def _replaced_from(lane: LaneRow, first_step: int) -> int | None:
    """The step from which a lane replaces earlier ones; None: it replaces nothing."""
    if lane.kind == BESIDE:
        return None
    return lane.start.step if lane.kind == RESUME else first_step
