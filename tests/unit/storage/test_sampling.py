"""Rows that are too many are thinned evenly."""

from __future__ import annotations

import numpy as np
import pytest

from penstock_storage.readers.sampling import lane_condition, thinned


@pytest.mark.parametrize(
    ("rows", "count"),
    [(2, 1), (3, 2), (10, 1), (10, 3), (10, 7), (10, 9), (501, 500), (999_999, 500)],
)
def test_thinning_is_even(rows: int, count: int) -> None:
    steps = np.arange(rows, dtype=np.int64) * 3 - 100
    found = thinned(steps, count)
    assert len(np.unique(found)) == len(found) == count
    assert found[0] == steps[0]
    assert np.isin(found, steps).all()
    if count > 1:
        assert found[-1] == steps[-1]
        gaps = np.diff(found) // 3
        assert gaps.max() - gaps.min() <= 1


def test_lanes_end_where_a_later_attempt_begins() -> None:
    assert lane_condition([1, 2], {}) == "(lane IN (1,2))"
    assert lane_condition([1, 2], {1: 9}) == "(lane IN (2) OR (lane = 1 AND step < 9))"
    assert lane_condition([1], {1: 9}) == "((lane = 1 AND step < 9))"
