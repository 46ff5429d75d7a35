"""The declared aggregates: merging those of a bucket's parts gives those of its points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock_storage.clickhouse.aggregates import (
    AGGREGATES,
    CHART_AGGREGATES,
    REPLIES,
    BucketPoints,
    reply_columns,
    sql_of_points,
    sql_of_rows,
    stored,
)
from penstock_storage.clickhouse.schema import COLUMNS

# Sums of these are exact in any order.
VALUES = st.integers(-(2**20), 2**20).map(float) | st.sampled_from([np.nan, np.inf, -np.inf])
POINTS = st.dictionaries(st.integers(0, 60), VALUES, min_size=1)


def bounds(bucket: Any) -> tuple[Any, Any]:
    starts = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
    return starts, np.append(starts[1:], len(bucket)) - 1


def folded(points: dict[int, float], shift: int) -> tuple[Any, dict[str, Any]]:
    step = np.array(sorted(points), np.int64)
    starts, ends = bounds(step >> shift)
    whole = BucketPoints.of(step, np.array([points[each] for each in step]), starts, ends)
    found = {name: each.fold(whole) for name, each in AGGREGATES.items()}
    return step[starts] >> shift, found


@sized(500)
@given(POINTS)
def test_merged_parts_equal_the_whole(points: dict[int, float]) -> None:
    bucket, parts = folded(points, 2)
    starts, ends = bounds(bucket >> 2)
    _, whole = folded(points, 4)
    for name, each in AGGREGATES.items():
        merged = each.merge(parts[name], starts, ends)
        np.testing.assert_array_equal(merged, whole[name], err_msg=name)
        assert merged.dtype == each.dtype, name


def test_a_bucket_without_finite_points_has_no_value_in_a_reply() -> None:
    _, found = folded({1: np.nan, 2: np.inf, 8: 3.0}, 3)
    shown = reply_columns(found)
    assert list(shown) == [reply.name for reply in REPLIES.values()]
    assert shown["count"].tolist() == [0, 1]
    assert shown["non_finite"].tolist() == [2, 0]
    for name in ("min", "max", "mean", "last"):
        np.testing.assert_array_equal(shown[name], [np.nan, 3.0], err_msg=name)


@pytest.mark.parametrize("name", AGGREGATES)
def test_it_is_a_column_that_tiers_store(name: str) -> None:
    kind, dtype = COLUMNS["tiers"][name]
    aggregate = AGGREGATES[name]
    assert dtype is not None
    assert aggregate.is_count == (kind == "UInt32")
    assert np.can_cast(dtype, aggregate.dtype)
    names = {"step": "step", "v": "v", "finite": "isFinite(v)", "place": "step"}
    sql = (sql_of_points([aggregate], **names), sql_of_rows([aggregate], row="t", place="p"))
    assert all("{" not in each[name] for each in sql)
    assert stored(sql[1])[name].startswith("toUInt32(") == aggregate.is_count


def test_what_replies_need_is_read() -> None:
    """`count` says where there is a value, the steps say where in the chart it is."""
    assert {"count", "first_step", "last_step"} <= CHART_AGGREGATES.keys()
    assert len({reply.name for reply in REPLIES.values()}) == len(REPLIES)
