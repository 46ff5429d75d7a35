"""What a noisy neighbour does to others: which batches count, and how they are compared."""

from __future__ import annotations

import pytest
from loadtests.neighbour import Window, percentile, ratio

WINDOWS = [Window(True, 0, 10), Window(False, 10, 20), Window(False, 20, 30), Window(True, 30, 40)]


def test_what_was_due_just_after_a_change_does_not_count() -> None:
    times = [(10.5, 9.0), (11.0, 0.1), (19.9, 0.2), (20.0, 9.0)]
    assert WINDOWS[1].of(times) == [0.1, 0.2]


def test_each_window_with_the_flood_is_compared_with_one_without() -> None:
    took = {0: 1.0, 10: 1.5, 20: 6.0, 30: 4.0}
    times = [(begins + 2 + n / 20, took[begins]) for begins in took for n in range(100)]
    assert ratio(WINDOWS, times, 0.99) == [1.5, 1.5]


@pytest.mark.parametrize(("part", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_measured(part: float, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], part) == expected
    assert percentile([], part) == 0
