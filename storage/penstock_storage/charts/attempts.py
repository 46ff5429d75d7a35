"""Attempts of a run: which steps of each lane count, computed on reading. Pure.

The lanes of a rank are ordered by when their writers started. A lane that begins at or before the
last step of an earlier one is a new attempt, and wins from its first step on. So the latest attempt
is every lane up to where a later lane of its rank begins. A lane that merely continues another ends
nothing, and no point is ever deleted or hidden for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

from penstock_storage.contracts.interface import LaneRow

__all__ = ["LaneId", "attempt_ends", "contested_runs", "lane_order"]

LaneId = tuple[int, int]
"""(run, lane)"""


def lane_order(lane: LaneRow) -> tuple[int, int, int, int]:
    """Sorts lanes by run and rank, and those of a rank from the oldest attempt to the newest."""
    return lane.run, lane.rank, lane.started, lane.lane


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
            later = first if later is None else min(later, first)
    return ends
