"""Whose attempt was replaced by a later one, and who logs beside whom."""

from __future__ import annotations

import numpy as np
from support.series import lane_row

from penstock.wire import Frame
from penstock_storage.contracts.lanes import BESIDE, RESUME, LaneStart
from penstock_workers.batches.attempt_order import AttemptOrder

SECOND = 1_000_000


def logged(at: int) -> Frame:
    """A row that was logged at this time (µs)."""
    return Frame(["a"], b"", np.array([at], np.int64).tobytes(), b"")


def test_an_attempt_is_replaced_by_a_later_one_of_its_rank() -> None:
    lanes = [
        lane_row(1, 0, start=LaneStart("", 0, 100)),
        lane_row(1, 1, rank=1, start=LaneStart("", 0, 100)),
        lane_row(1, 2, start=LaneStart(BESIDE, 0, 150)),
        lane_row(1, 3, start=LaneStart(RESUME, 50, 200)),
        lane_row(1, 4, started=300),  # of an older client: only its machine's clock is known
        lane_row(2, 0, start=LaneStart("", 0, 100)),
    ]
    order = AttemptOrder()
    order.learn(lanes, {(1, 0): lanes[3], (1, 1): lanes[1], (2, 0): lanes[5]})
    replaced = [(lane.run, lane.lane) for lane in lanes if order.is_replaced(lane.run, lane.lane)]
    assert replaced == [(1, 0), (1, 2)]
    assert not order.is_replaced(9, 9)


def test_rows_logged_long_after_it_began_show_that_it_replaces_nothing() -> None:
    # The first machine's clock is an hour ahead.
    ahead = 3_600 * SECOND
    first = lane_row(1, 0, started=ahead + 100 * SECOND, start=LaneStart("", 0, 100 * SECOND))
    second = lane_row(1, 1, started=500 * SECOND, start=LaneStart(RESUME, 50, 500 * SECOND))
    order = AttemptOrder()
    order.learn([first, second], {(1, 0): second})
    # What was logged before, or while it was being stopped, may come late.
    assert order.outlived(1, 0, logged(ahead + 499 * SECOND)) == set()
    assert order.outlived(1, 0, logged(ahead + 509 * SECOND)) == set()
    assert order.outlived(1, 1, logged(900 * SECOND)) == set()
    assert order.outlived(1, 0, logged(ahead + 511 * SECOND)) == {(1, 1)}
    assert order.forget(1, 1) == {(1, 0)}
    assert order.forget(1, 1) == set()
    order.learn([], {(1, 0): first})
    assert not order.is_replaced(1, 0)
    assert not order.is_replaced(1, 1)
