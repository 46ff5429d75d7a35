"""Whose attempt was resumed by a later one."""

from __future__ import annotations

from support.series import lane_row

from penstock_storage.contracts.lanes import BESIDE, RESUME, LaneStart
from penstock_workers.attempt_order import AttemptOrder


def test_an_attempt_is_replaced_by_a_later_one_that_resumed_its_rank() -> None:
    lanes = [
        lane_row(1, 0, start=LaneStart("", 0, 100)),
        lane_row(1, 1, rank=1, start=LaneStart("", 0, 100)),
        lane_row(1, 2, start=LaneStart(BESIDE, 0, 150)),
        lane_row(1, 3, start=LaneStart(RESUME, 50, 200)),
        lane_row(2, 0, start=LaneStart("", 0, 100)),
    ]
    order = AttemptOrder()
    order.learn(lanes, {(1, 0): lanes[3].order})
    replaced = [(lane.run, lane.lane) for lane in lanes if order.is_replaced(lane.run, lane.lane)]
    assert replaced == [(1, 0), (1, 2)]
    assert not order.is_replaced(9, 9)
