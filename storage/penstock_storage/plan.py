"""How a chart is read (pure): the width of its buckets, and which steps come from tiers or points.

Tiers serve the buckets that are whole inside the range asked for, below the series' watermark and
not dirty; points serve everything else. Each step of a series is in exactly one window, so that the
merged answer equals one computed from all points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from penstock_storage.segments import LaneId
from penstock_storage.series import NEVER, Dirty, SeriesTable

__all__ = ["FOREVER", "TIER_SHIFT", "Plan", "Range", "Window", "choose_shift", "plan_chart"]

TIER_SHIFT = 8
"""Tiers hold buckets of 2^8 steps."""
FOREVER = 2**62
"""Beyond every step (they lie within ±2^53), with room to calculate."""
_MAX_DIRTY_WINDOWS = 4


class Range(NamedTuple):
    """Steps `lo` <= step < `hi`."""

    lo: int = -FOREVER
    hi: int = FOREVER


class Window(NamedTuple):
    """`lo` <= step < `hi` of one series; for tiers, the same of bucket numbers."""

    key: int
    run: int
    lane: int
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Buckets of 2^shift steps from `first_bucket` on, and where their points are. Windows of a
    series do not overlap."""

    shift: int
    first_bucket: int
    points: list[Window]
    tiers: list[Window]
    point_rows: int
    """At most so many rows of `points` are in the windows, in `point_buckets` buckets at most;
    `tier_rows` likewise."""
    point_buckets: int
    tier_rows: int


class _Part(NamedTuple):
    """One series, narrowed to what may be shown: visible steps are first … last, inclusive."""

    id: tuple[int, int, int]
    first: int
    last: int
    lo: int
    hi: int
    tiered: int


def choose_shift(first: int, last: int, buckets: int) -> int:
    """The smallest s for which first … last touch at most `buckets` buckets of 2^s steps.

    Buckets are aligned at 0, so a range across it takes two, however wide they are.
    """
    if first < 0 <= last:
        buckets = max(buckets, 2)
    shift = max(0, ((last - first) // buckets).bit_length() - 1)
    while (last >> shift) - (first >> shift) >= buckets:
        shift += 1
    return shift


def plan_chart(
    series: SeriesTable,
    buckets: int,
    *,
    visible: Range | Mapping[LaneId, Range] = Range(),  # noqa: B008
    ends: Mapping[LaneId, int] | None = None,
    dirty: Dirty | None = None,
) -> Plan | None:
    """The plan for these series, or None if they hold nothing that is visible.

    `visible` is the range asked for, for all lanes or by lane (lanes that are absent: nothing);
    `ends` are the cuts of the latest attempt.
    """
    parts = list(_parts(series, visible, ends or {}))
    if not parts:
        return None
    first, last = min(part.first for part in parts), max(part.last for part in parts)
    shift = choose_shift(first, last, buckets)
    # What arrives from now on outside of these buckets is for the next chart.
    begin, end = first >> shift << shift, ((last >> shift) + 1) << shift
    plan = Plan(shift, first >> shift, [], [], 0, 0, 0)
    touched = _dirty_by_series(dirty) if dirty is not None and shift >= TIER_SHIFT else {}
    for part in parts:
        part = part._replace(lo=max(part.lo, begin), hi=min(part.hi, end))
        if shift >= TIER_SHIFT and part.tiered != NEVER:
            _add_tiered(plan, part, touched.get(part.id, ()))
        else:
            plan.points.append(Window(*part.id, part.lo, part.hi))
    spans = _spans(plan.points, {part.id: (part.first, part.last) for part in parts})
    return replace(
        plan,
        point_rows=sum(high - low + 1 for low, high in spans),
        point_buckets=sum((high >> shift) - (low >> shift) + 1 for low, high in spans),
        tier_rows=sum(window.hi - window.lo for window in plan.tiers),
    )


def _parts(
    series: SeriesTable, visible: Range | Mapping[LaneId, Range], ends: Mapping[LaneId, int]
) -> Iterable[_Part]:
    for key, run, lane, first, last, tiered in zip(
        series.key.tolist(),
        series.run.tolist(),
        series.lane.tolist(),
        series.first.tolist(),
        series.last.tolist(),
        series.tiered.tolist(),
        strict=True,
    ):
        span = visible if isinstance(visible, Range) else visible.get((run, lane), Range(0, 0))
        hi = min(span.hi, ends.get((run, lane), FOREVER))
        first, last = max(first, span.lo), min(last, hi - 1)
        if first <= last:
            yield _Part((key, run, lane), first, last, span.lo, hi, tiered)


def _add_tiered(plan: Plan, part: _Part, dirty: Sequence[tuple[int, int]]) -> None:
    """Cut one series into whole clean buckets below its watermark, and the steps between them."""
    # A bound that cuts no point off cuts no bucket in two either.
    low = part.first >> TIER_SHIFT if part.first > part.lo else -(-part.lo >> TIER_SHIFT)
    high = (min(part.tiered, part.hi) if part.hi <= part.last + 1 else part.tiered) >> TIER_SHIFT
    high = min(high, (part.last >> TIER_SHIFT) + 1)
    if low >= high:
        plan.points.append(Window(*part.id, part.lo, part.hi))
        return
    at, bucket = part.lo, low
    for start, stop in (*dirty, (high, high)):
        start, stop = max(start, low), min(stop, high)
        if start > stop:
            continue
        if start > bucket:
            plan.tiers.append(Window(*part.id, bucket, start))
            _add_points(plan, part, at, bucket << TIER_SHIFT)
            at = start << TIER_SHIFT
        bucket = max(bucket, stop)
    _add_points(plan, part, at, part.hi)


def _add_points(plan: Plan, part: _Part, lo: int, hi: int) -> None:
    if max(lo, part.first) < min(hi, part.last + 1):
        plan.points.append(Window(*part.id, lo, hi))


def _dirty_by_series(dirty: Dirty) -> dict[tuple[int, int, int], list[tuple[int, int]]]:
    """Dirty buckets as a few ranges [start, stop) per series."""
    found: dict[tuple[int, int, int], list[int]] = {}
    for key, run, lane, bucket in zip(
        dirty.key.tolist(),
        dirty.run.tolist(),
        dirty.lane.tolist(),
        dirty.bucket.tolist(),
        strict=True,
    ):
        found.setdefault((key, run, lane), []).append(bucket)
    return {series: _ranges(np.array(buckets, np.int64)) for series, buckets in found.items()}


def _ranges(buckets: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Sorted buckets as ranges, split at their widest gaps only: clean buckets in between are read
    as points too, which is right, and cheaper than a statement with a window for each bucket."""
    gaps = np.diff(buckets)
    widest = np.sort(np.argsort(gaps)[::-1][: _MAX_DIRTY_WINDOWS - 1])
    splits = [int(at) for at in widest if gaps[at] > 1]
    starts = buckets[[0, *(at + 1 for at in splits)]].tolist()
    stops = (buckets[[*splits, len(buckets) - 1]] + 1).tolist()
    return list(zip(starts, stops, strict=True))


def _spans(
    windows: Iterable[Window], visible: Mapping[tuple[int, int, int], tuple[int, int]]
) -> list[tuple[int, int]]:
    """The first and the last step of each window that may hold a point."""
    spans = []
    for window in windows:
        first, last = visible[window[:3]]
        low, high = max(window.lo, first), min(window.hi - 1, last)
        if low <= high:
            spans.append((low, high))
    return spans
