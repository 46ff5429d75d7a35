"""Plans: few enough buckets, each step in exactly one window, tiers only where they are right."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock_storage.charts.plan import (
    FOREVER,
    Plan,
    Range,
    Window,
    choose_shift,
    plan_chart,
)
from penstock_storage.charts.series import NEVER, Dirty, SeriesTable
from penstock_storage.charts.windows import conditions
from penstock_storage.clickhouse.tiers import TIER_SHIFTS

STEPS = st.integers(-(2**53) + 1, 2**53 - 1)


@sized(5_000)
@given(STEPS, STEPS, st.integers(1, 10_000))
def test_shift_is_the_smallest_that_gives_few_buckets(one: int, other: int, buckets: int) -> None:
    first, last = min(one, other), max(one, other)
    shift = choose_shift(first, last, buckets)
    allowed = max(buckets, 2) if first < 0 <= last else buckets

    def count(shift: int) -> int:
        return (last >> shift) - (first >> shift) + 1

    assert count(shift) <= allowed
    assert shift == 0 or count(shift - 1) > allowed


def table(series: list[tuple[int, int, int]]) -> SeriesTable:
    """Series of one key, run 1, lane 0, 1 …, from (first, last, tiered)."""
    first, last, tiered = (np.array(column, np.int64) for column in zip(*series, strict=True))
    count = len(series)
    return SeriesTable(
        np.ones(count, np.uint32),
        np.ones(count, np.uint32),
        np.arange(count, dtype=np.uint16),
        first,
        last,
        tiered,
    )


def covering(plan: Plan, lane: int, step: int) -> list[int]:
    """The widths, as shifts, of the windows that hold a step; -1 for points."""
    found = [-1 for w in plan.points if w.lane == lane and w.lo <= step < w.hi]
    for shift, windows in plan.tiers.items():
        found += [shift for w in windows if w.lane == lane and w.lo <= step >> shift < w.hi]
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[SeriesTable, Range, dict[tuple[int, int], int], Dirty, int]:
    series, dirty, ends = [], [], {}
    for lane in range(draw(st.integers(1, 3))):
        first = draw(st.integers(-5_000, 5_000))
        last = first + draw(st.one_of(st.integers(0, 40_000), st.integers(0, 4_000_000)))
        tiered = draw(st.one_of(st.just(NEVER), st.integers(first - 600, last + 600)))
        series.append((first, last, tiered))
        if draw(st.booleans()):
            ends[1, lane] = draw(st.integers(first - 10, last + 10))
        buckets = st.integers((first >> 8) - 2, (last >> 8) + 2)
        dirty += [(lane, bucket) for bucket in sorted(draw(st.sets(buckets, max_size=12)))]
    lo = draw(st.one_of(st.just(-FOREVER), st.integers(-6_000, 40_000)))
    hi = draw(st.one_of(st.just(FOREVER), st.integers(lo, lo + 60_000)))
    lanes = np.array([lane for lane, _ in dirty], np.uint16)
    marks = Dirty(
        np.ones(len(dirty), np.uint32),
        np.ones(len(dirty), np.uint32),
        lanes,
        np.array([bucket for _, bucket in dirty], np.int64),
    )
    return table(series), Range(lo, hi), ends, marks, draw(st.sampled_from([1, 5, 50, 500, 10_000]))


@sized(5_000)
@given(cases())
def test_every_visible_step_is_read_once_and_from_where_it_is_right(
    case: tuple[SeriesTable, Range, dict[tuple[int, int], int], Dirty, int],
) -> None:
    series, visible, ends, dirty, buckets = case
    plan = plan_chart(series, buckets, visible=visible, ends=ends, dirty=dirty)
    marks = set(zip(dirty.lane.tolist(), dirty.bucket.tolist(), strict=True))
    seen = False
    for lane in range(len(series)):
        first, last = int(series.first[lane]), int(series.last[lane])
        end = min(visible.hi, ends.get((1, lane), FOREVER))
        edges = {first, last, visible.lo, end, int(series.tiered[lane])}
        edges |= {bucket << 8 for each, bucket in marks if each == lane}
        probes = {edge + by for edge in edges for by in (-257, -256, -1, 0, 1, 255, 256)}
        probes |= {(edge >> s << s) + by for edge in edges for s in TIER_SHIFTS for by in (-1, 0)}
        for step in probes | set(range(first, last + 1, (last - first) // 80 + 1)):
            if not first <= step <= last:
                continue
            found = covering(plan, lane, step) if plan is not None else []
            shown = visible.lo <= step < end
            seen = seen or shown
            assert len(found) == shown
            for shift in set(found) - {-1}:
                bucket = step >> shift
                assert plan is not None
                assert shift <= plan.shift
                assert (bucket + 1) << shift <= series.tiered[lane]
                assert not any(each == lane and b >> (shift - 8) == bucket for each, b in marks)
                assert visible.lo <= max(bucket << shift, first)
                assert min(((bucket + 1) << shift) - 1, last) < end
    assert (plan is not None) or not seen


@sized(5_000)
@given(cases())
def test_conditions_select_what_the_windows_hold(
    case: tuple[SeriesTable, Range, dict[tuple[int, int], int], Dirty, int],
) -> None:
    series, visible, ends, dirty, buckets = case
    plan = plan_chart(series, buckets, visible=visible, ends=ends, dirty=dirty)
    if plan is None:
        return
    for condition in conditions({"": plan.points}, series, "step"):
        assert len(condition) < 200_000
        assert condition.count("(") == condition.count(")")


def test_a_long_series_takes_few_rows_at_every_zoom() -> None:
    last = 100_000_000
    series = table([(0, last, (last >> 8) + 1 << 8)])
    rng = np.random.default_rng(1)
    for size in (10**5, 10**6, 10**7, 10**8):
        for lo in rng.integers(0, last - size + 1, 20).tolist():
            plan = plan_chart(series, 500, visible=Range(lo, lo + size))
            assert plan is not None
            assert plan.tier_rows <= 500 * 4 + 2 * 3 * 8
            assert plan.point_rows <= (2 * 256 if plan.shift >= 8 else size)


def test_many_long_curves_are_not_read_point_by_point() -> None:
    series = table([(0, 99_999, 100_096)] * 200)
    few = SeriesTable(*(getattr(series, f.name)[:10] for f in fields(series)))
    for lo, hi in ((0, 50_000), (11_111, 33_333)):
        many, alone = (plan_chart(each, 500, visible=Range(lo, hi)) for each in (series, few))
        assert many is not None
        assert alone is not None
        assert many.point_rows <= 200 * 2 * 256
        assert many.tier_rows >= 200 * 64
        assert alone.shift < many.shift
    close = plan_chart(series, 500, visible=Range(1_000, 9_000))
    assert close is not None
    assert not close.tier_rows


def test_thousands_of_windows_make_short_statements() -> None:
    count = 5_000
    numbers = np.arange(1, count + 1, dtype=np.uint32)
    zeros = np.zeros(count, np.int64)
    series = SeriesTable(
        np.ones(count, np.uint32), numbers, zeros.astype(np.uint16), zeros, zeros, zeros
    )
    windows = [Window(1, int(run), 0, int(run) * 1_000, int(run) * 1_000 + 5) for run in numbers]
    statements = list(conditions({"": windows}, series, "step"))
    assert len(statements) == 3
    assert max(map(len, statements)) < 200_000
