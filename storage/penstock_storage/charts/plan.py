"""How a chart is read (pure): the width of its buckets, and which steps come from tiers or points.

The widest tier that is not wider than the chart's buckets is used for the buckets that lie completely
in the requested range and below the series' watermark and are not dirty; narrower tiers cover what is
left, and points the rest. Each step of a series is in exactly one window, so the merged result equals
one computed from all points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from penstock_storage.charts.attempts import LaneId
from penstock_storage.charts.series import NEVER, Dirty, SeriesTable
from penstock_storage.clickhouse.tiers import TIER_SHIFT, TIER_SHIFTS
from penstock_storage.contracts.ids import SeriesId

__all__ = ["FOREVER", "Plan", "Range", "Window", "choose_shift", "plan_chart"]

FOREVER = 2**62
"""Beyond every step (they lie within ±2^53), with room for arithmetic."""
_MAX_DIRTY_WINDOWS = 4
_MAX_POINTS = 1_000_000
_MIN_STEPS = 64 << TIER_SHIFT
"""Many long curves at a close zoom are read from the narrowest tier in fewer buckets than requested, if
64 remain: their points would take a hundred times as long."""

I64 = npt.NDArray[np.int64]
_NONE = np.empty(0, np.int64)


class Range(NamedTuple):
    """Steps `lo` <= step < `hi`."""

    lo: int = -FOREVER
    hi: int = FOREVER


class Window(NamedTuple):
    """`lo` <= step < `hi` of one series; for a tier, the same with bucket numbers."""

    key: int
    run: int
    lane: int
    lo: int
    hi: int

    @property
    def series(self) -> SeriesId:
        return SeriesId(self.key, self.run, self.lane)


@dataclass(frozen=True, slots=True)
class Plan:
    """Buckets of 2^shift steps from `first_bucket` on, and where their points are: `tiers` by the
    tier's shift. Windows of a series do not overlap."""

    shift: int
    first_bucket: int
    points: list[Window]
    tiers: dict[int, list[Window]]
    point_rows: int
    """Upper bounds: the rows of `points` in the windows, and their buckets (`point_buckets`);
    `tier_rows` likewise."""
    point_buckets: int
    tier_rows: int


class _Part(NamedTuple):
    """One series within the visible `span`: its steps there are first … last, inclusive. `is_cut`: whether
    it has steps before, and after."""

    id: SeriesId
    first: int
    last: int
    span: Range
    is_cut: tuple[bool, bool]
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
    """The plan for these series in at most `buckets` buckets (two, if it is one and they reach across 0),
    or None if they hold nothing visible.

    `visible` is the requested range, for all lanes or by lane (absent lanes: nothing); `ends` are the
    `attempt_ends` of the lanes.
    """
    parts = list(_parts(series, visible, ends or {}))
    if not parts:
        return None
    first, last = min(part.first for part in parts), max(part.last for part in parts)
    shift = choose_shift(first, last, buckets)
    tiered = sum(part.last - part.first + 1 for part in parts if part.tiered != NEVER)
    if shift < TIER_SHIFT and tiered > _MAX_POINTS and last - first >= _MIN_STEPS:
        shift = TIER_SHIFT
    # Points that arrive from now on outside of these buckets belong to the next chart.
    begin, end = first >> shift << shift, ((last >> shift) + 1) << shift
    levels = [level for level in reversed(TIER_SHIFTS) if level <= shift]
    plan = Plan(shift, first >> shift, [], {level: [] for level in levels}, 0, 0, 0)
    touched = _dirty_by_series(dirty) if dirty is not None and levels else {}
    for part in parts:
        # A bound that excludes no point splits no bucket either.
        lo = max(part.span.lo, begin) if part.is_cut[0] else begin
        hi = min(part.span.hi, end) if part.is_cut[1] else end
        _cover(plan, part, levels, touched.get(part.id, _NONE), lo, hi)
    spans = _spans(plan.points, {part.id: (part.first, part.last) for part in parts})
    return replace(
        plan,
        point_rows=sum(high - low + 1 for low, high in spans),
        point_buckets=sum((high >> shift) - (low >> shift) + 1 for low, high in spans),
        tier_rows=sum(window.hi - window.lo for each in plan.tiers.values() for window in each),
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
        asked = visible if isinstance(visible, Range) else visible.get((run, lane), Range(0, 0))
        span = Range(asked.lo, min(asked.hi, ends.get((run, lane), FOREVER)))
        is_cut = (first < span.lo, last >= span.hi)
        first, last = max(first, span.lo), min(last, span.hi - 1)
        if first <= last:
            yield _Part(SeriesId(key, run, lane), first, last, span, is_cut, tiered)


def _cover(plan: Plan, part: _Part, levels: Sequence[int], dirty: I64, lo: int, hi: int) -> None:
    """Divide the steps `lo` … `hi` of one series into windows: complete clean buckets of the widest level,
    gaps between them from the next level, and finally from points."""
    if max(lo, part.first) >= min(hi, part.last + 1):
        return
    if not levels or part.tiered == NEVER:
        lo, hi = max(lo, part.span.lo), min(hi, part.span.hi)
        plan.points.append(Window(*part.id, lo, hi))
        return
    level, narrower = levels[0], levels[1:]
    low = max(-(-lo >> level), part.first >> level)
    high = min(min(hi, part.tiered) >> level, (part.last >> level) + 1)
    at = lo
    for start, stop in _clean(dirty >> (level - TIER_SHIFT), low, high):
        plan.tiers[level].append(Window(*part.id, start, stop))
        _cover(plan, part, narrower, dirty, at, start << level)
        at = stop << level
    _cover(plan, part, narrower, dirty, at, hi)


def _clean(dirty: I64, low: int, high: int) -> Iterator[tuple[int, int]]:
    """The clean stretches of the buckets `low` … `high`."""
    if low >= high:
        return
    at = low
    for start, stop in _ranges(dirty[(dirty >= low) & (dirty < high)]) if len(dirty) else ():
        if start > at:
            yield at, start
        at = stop
    if at < high:
        yield at, high


def _dirty_by_series(dirty: Dirty) -> dict[SeriesId, I64]:
    """Dirty buckets of the narrowest tier, sorted, by series."""
    change = np.diff(dirty.key) != 0
    change |= (np.diff(dirty.run) != 0) | (np.diff(dirty.lane) != 0)
    heads = np.flatnonzero(np.append(True, change))[: len(dirty.key)]
    names = (column[heads].tolist() for column in (dirty.key, dirty.run, dirty.lane))
    buckets = np.split(dirty.bucket, heads[1:])
    return dict(zip(map(SeriesId, *names), buckets, strict=False))


def _ranges(buckets: I64) -> list[tuple[int, int]]:
    """Sorted buckets as a few ranges, split at the widest gaps only: clean buckets in between are also
    read from narrower rows, which is correct, and cheaper than a window for each bucket."""
    if not len(buckets):
        return []
    gaps = np.diff(buckets)
    widest = np.sort(np.argsort(gaps)[::-1][: _MAX_DIRTY_WINDOWS - 1])
    splits = [int(at) for at in widest if gaps[at] > 1]
    starts = buckets[[0, *(at + 1 for at in splits)]].tolist()
    stops = (buckets[[*splits, len(buckets) - 1]] + 1).tolist()
    return list(zip(starts, stops, strict=True))


def _spans(
    windows: Iterable[Window], visible: Mapping[SeriesId, tuple[int, int]]
) -> list[tuple[int, int]]:
    """The first and the last step of each window that may contain a point."""
    spans = []
    for window in windows:
        first, last = visible[window.series]
        low, high = max(window.lo, first), min(window.hi - 1, last)
        if low <= high:
            spans.append((low, high))
    return spans
