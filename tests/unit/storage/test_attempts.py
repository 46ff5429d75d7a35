"""Which steps of each lane count in the latest attempt."""

from __future__ import annotations

from support.series import lane_row

from penstock_storage.charts.attempts import attempt_ends, contested_runs
from penstock_storage.contracts.lanes import BESIDE, RESUME, LaneStart


def test_a_lane_that_goes_on_cuts_nothing() -> None:
    lanes = [lane_row(1, 0, started=1), lane_row(1, 1, started=2)]
    assert contested_runs(lanes) == {1}
    assert attempt_ends(lanes, {(1, 0): 0, (1, 1): 100}) == {(1, 0): 100}


def test_of_three_attempts_the_last_wins_from_its_first_step_on() -> None:
    lanes = [lane_row(1, 2, started=1), lane_row(1, 0, started=2), lane_row(1, 1, started=3)]
    firsts = {(1, 2): 0, (1, 0): 50, (1, 1): 20}
    assert attempt_ends(lanes, firsts) == {(1, 2): 20, (1, 0): 20}
    assert attempt_ends(lanes, {(1, 2): 0, (1, 1): 20}) == {(1, 2): 20}


def test_ranks_do_not_cut_each_other() -> None:
    lanes = [lane_row(1, 0, rank=0, started=1), lane_row(1, 1, rank=1, started=2)]
    assert contested_runs(lanes) == set()
    assert attempt_ends(lanes, {(1, 0): 0, (1, 1): 0}) == {}


def test_a_resumed_run_keeps_what_lies_before_the_step_that_it_resumes_from() -> None:
    # It begins to log later than it says that it resumes: what the older attempt has in between is gone.
    lanes = [lane_row(1, 0), lane_row(1, 1, start=LaneStart(RESUME, 100, 5))]
    assert attempt_ends(lanes, {(1, 0): 0, (1, 1): 130}) == {(1, 0): 100}
    # Late rows below that step, logged by a step of their own, take nothing away.
    assert attempt_ends(lanes, {(1, 0): 0, (1, 1): 7}) == {(1, 0): 100}
    # As long as it has logged nothing, everything counts.
    assert attempt_ends(lanes, {(1, 0): 0}) == {}


def test_who_logs_beside_others_takes_nothing_away() -> None:
    child = lane_row(1, 1, start=LaneStart(BESIDE, 0, 9))
    lanes = [lane_row(1, 0, start=LaneStart("", 0, 1)), child]
    assert attempt_ends(lanes, {(1, 0): 0, (1, 1): 10}) == {}
    # A later attempt replaces both.
    lanes.append(lane_row(1, 2, start=LaneStart(RESUME, 50, 20)))
    assert attempt_ends(lanes, {(1, 0): 0, (1, 1): 10, (1, 2): 50}) == {(1, 0): 50, (1, 1): 50}


def test_the_order_is_that_of_the_starts_and_not_of_the_clocks_or_the_arrival() -> None:
    """The older attempt arrives last, from a machine whose clock is ahead."""
    resumed = lane_row(1, 0, started=1_000, start=LaneStart(RESUME, 100, 600))
    older = lane_row(1, 1, started=9_000, start=LaneStart("", 0, 500))
    assert attempt_ends([resumed, older], {(1, 0): 100, (1, 1): 0}) == {(1, 1): 100}
