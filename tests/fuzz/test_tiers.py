"""Buckets of every width against brute force: bounds, counts, first and last are exact over finite
values, whatever the order and the grouping; a coarser row equals one built from the points."""

from __future__ import annotations

import math
import struct
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock.wire import MAX_STEP
from penstock_storage.charts.partials import Curves, Partials, fold_points, fold_rows, merge
from penstock_storage.clickhouse.tiers import TIER_SHIFT, TIER_SHIFTS
from penstock_storage.contracts.interface import Columns
from penstock_workers.batches.tiers import fold_up

Points = dict[int, float]
EXACT = ("min", "max", "count", "non_finite", "first", "last", "first_step", "last_step")

# Sums of these are exact in any order, so that rows can be compared bit by bit.
exact_values = st.one_of(
    st.integers(-(2**20), 2**20).map(lambda n: n / 64),
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 0.0]),
)
any_values = st.floats(allow_nan=True, allow_infinity=True)
near_steps = st.integers(-3_000, 3_000)
far_steps = st.one_of(
    near_steps,
    st.integers(1 - MAX_STEP, MAX_STEP - 1),
    st.sampled_from([1 - MAX_STEP, MAX_STEP - 1, -1, 0, 255, 256, -256, -257]),
)


def series(values: st.SearchStrategy[float]) -> st.SearchStrategy[Points]:
    return st.dictionaries(far_steps, values, min_size=1, max_size=60)


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def expected(points: Points, shift: int) -> dict[int, dict[str, Any]]:
    """The row of each bucket, one point after the other."""
    rows: dict[int, dict[str, Any]] = {}
    for step in sorted(points):
        value = points[step]
        row = rows.setdefault(
            step >> shift,
            {
                "min": math.inf, "max": -math.inf, "sum": 0.0, "count": 0, "non_finite": 0,
                "first": value, "first_step": step,
            },
        )  # fmt: skip
        row["last"], row["last_step"] = value, step
        if math.isfinite(value):
            row["count"] += 1
            row["sum"] += value
            row["min"], row["max"] = min(row["min"], value), max(row["max"], value)
        else:
            row["non_finite"] += 1
    return rows


def columns(points: Points, lane: int = 0) -> Columns:
    steps = sorted(points)
    return {
        "key": np.ones(len(steps), np.uint32),
        "run": np.ones(len(steps), np.uint32),
        "lane": np.full(len(steps), lane, np.uint16),
        "step": np.array(steps, np.int64),
        "v": np.array([points[step] for step in steps], np.float64),
    }


def tier_rows(points: Points, shift: int) -> dict[str, npt.NDArray[Any]]:
    """Rows as the store makes them of points: 0 where there is no finite value."""
    rows = expected(points, shift)
    found: dict[str, npt.NDArray[Any]] = {
        "series": np.zeros(len(rows), np.int64),
        "bucket": np.array(list(rows), np.int64),
        "count": np.array([row["count"] for row in rows.values()], np.uint32),
        "non_finite": np.array([row["non_finite"] for row in rows.values()], np.uint32),
    }
    for name in ("first_step", "last_step"):
        found[name] = np.array([row[name] for row in rows.values()], np.int64)
    for name in ("min", "max", "sum", "first", "last"):
        bare = [
            row[name] if row["count"] or name in ("first", "last") else 0.0 for row in rows.values()
        ]
        found[name] = np.array(bare, np.float64)
    return found


def assert_rows(found: dict[str, npt.NDArray[Any]], points: Points, shift: int) -> None:
    rows = expected(points, shift)
    assert found["bucket"].tolist() == list(rows)
    for at, row in enumerate(rows.values()):
        for name in (*EXACT, "sum"):
            value = found[name][at]
            if name in ("first", "last"):
                assert bits(value) == bits(row[name])
            elif row["count"] or name not in ("min", "max", "sum"):
                assert value == row[name], name


@pytest.mark.timeout(300)
@sized(2_000)
@given(series(exact_values))
def test_a_coarser_row_equals_one_built_from_the_points(points: Points) -> None:
    rows = tier_rows(points, TIER_SHIFT)
    for finer, coarser in pairwise(TIER_SHIFTS):
        rows = fold_up([rows], coarser - finer)
        assert_rows(rows, points, coarser)


@pytest.mark.timeout(300)
@sized(2_000)
@given(series(exact_values), st.randoms(use_true_random=False), st.integers(1, 4))
def test_rows_in_any_order_and_any_parts_give_the_same(
    points: Points, rng: Any, parts: int
) -> None:
    """Newer parts come first; older rows of the same buckets, however wrong, count no more."""
    fine = tier_rows(points, TIER_SHIFT)
    order = list(range(len(fine["bucket"])))
    rng.shuffle(order)
    shuffled = [
        {name: column[order[part::parts]] for name, column in fine.items()} for part in range(parts)
    ]
    stale = {name: column.copy() for name, column in fine.items()}
    stale["sum"] += 1.0
    stale["max"] += 1.0
    assert_rows(fold_up([*shuffled, stale], 3), points, TIER_SHIFTS[1])


def folded(points: Points, shift: int, lane: int = 0, *, first: int) -> Partials:
    return fold_points(columns(points, lane), Curves(lambda k, r, _: (k, r, None)), shift, first)


def from_tier(points: Points, shift: int, tier: int, *, first: int) -> Partials:
    rows = tier_rows(points, tier)
    size = len(rows["bucket"])
    place: Columns = {
        "key": np.ones(size, np.uint32),
        "run": np.ones(size, np.uint32),
        "lane": np.zeros(size, np.uint16),
    }
    return fold_rows({**rows, **place}, Curves(lambda k, r, _: (k, r, None)), shift, first)


near = st.dictionaries(near_steps, exact_values, min_size=1, max_size=60)


@pytest.mark.timeout(300)
@sized(2_000)
@given(near, st.integers(0, 14), st.integers(-12, 12), st.randoms(use_true_random=False))
def test_charts_of_tiers_and_points_equal_those_of_points(
    points: Points, shift: int, border: int, rng: Any
) -> None:
    """Buckets below a border come from a tier, the others from points, in pieces in any order."""
    levels = [level for level in TIER_SHIFTS if level <= shift]
    first = min(points) >> shift
    low = {s: v for s, v in points.items() if levels and s >> levels[-1] < border}
    high = {s: v for s, v in points.items() if s not in low}
    sources: list[Partials] = []
    if low:
        sources.append(from_tier(low, shift, levels[-1], first=first))
    steps = list(high)
    rng.shuffle(steps)
    for part in (steps[::2], steps[1::2]):
        if part:
            sources.append(folded({s: high[s] for s in part}, shift, first=first))
    rng.shuffle(sources)
    cells = merge(sources)
    rows = expected(points, shift)
    assert cells.cell.tolist() == [bucket - first for bucket in rows]
    for at, row in enumerate(rows.values()):
        for name in ("min", "max", "sum", "count", "non_finite", "first_step", "last_step"):
            assert cells[name][at] == row[name], name
        assert bits(cells["last"][at]) == bits(row["last"])


@pytest.mark.timeout(300)
@sized(1_000)
@given(st.lists(near, min_size=2, max_size=4), st.integers(0, 9), st.permutations(range(4)))
def test_lanes_merge_the_same_in_any_order(
    lanes: list[Points], shift: int, order: list[int]
) -> None:
    first = min(min(points) for points in lanes) >> shift
    parts = [folded(points, shift, lane, first=first) for lane, points in enumerate(lanes)]
    one = merge(parts)
    other = merge([parts[at] for at in order if at < len(parts)])
    stepwise = merge([merge(parts[:1]), merge(parts[1:])])
    for cells in (other, stepwise):
        for name in ("cell", "rank", "lane"):
            assert getattr(one, name).tobytes() == getattr(cells, name).tobytes(), name
        for name, column in one.columns.items():
            assert column.tobytes() == cells[name].tobytes(), name


@pytest.mark.timeout(300)
@sized(2_000)
@given(series(any_values), st.integers(0, 20))
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_any_floats_keep_their_bounds(points: Points, shift: int) -> None:
    """Sums may round or overflow; bounds, counts and ends are exact all the same."""
    cells = folded(points, shift, first=min(points) >> shift)
    rows = expected(points, shift)
    for at, row in enumerate(rows.values()):
        for name in ("min", "max", "count", "non_finite", "first_step", "last_step"):
            assert cells[name][at] == row[name], name
        assert bits(cells["last"][at]) == bits(row["last"])
        if row["count"] and math.isfinite(row["sum"]):
            slack = 1e-9 * row["count"] * max(abs(row["min"]), abs(row["max"]), 1e-300)
            assert abs(cells["sum"][at] - row["sum"]) <= slack or not math.isfinite(
                cells["sum"][at]
            )
