"""When a worker commits."""

from __future__ import annotations

import pytest

from penstock_workers.commits.commit_pace import MAX_REST_S, CommitPace


class Clock:
    def __init__(self) -> None:
        self.now = 1_024.0

    def __call__(self) -> float:
        return self.now


def paced(rest_s: float = 5.0) -> tuple[CommitPace, Clock]:
    clock = Clock()
    return CommitPace(min_s=0.25, rest_s=rest_s, clock=clock), clock


def test_a_new_worker_reads_at_once() -> None:
    pace, _ = paced()
    assert pace.rest_s <= 0
    assert pace.gather_s <= 0


def test_batches_rest_until_the_timer_or_until_there_is_something_to_read_again() -> None:
    pace, clock = paced()
    pace.read()
    assert pace.rest_s == 5.0
    clock.now += 4
    assert pace.rest_s == 1.0
    pace.read_again()
    assert pace.rest_s <= 0


def test_no_setting_makes_anybody_wait_for_longer_than_readers_and_clients_expect() -> None:
    pace, _ = paced(rest_s=3_600.0)
    pace.read()
    assert pace.rest_s == MAX_REST_S


def test_no_rest_at_all_can_be_set() -> None:
    pace, _ = paced(rest_s=0.0)
    pace.read()
    assert pace.rest_s <= 0


def test_costly_commits_are_further_apart_but_not_by_much() -> None:
    pace, clock = paced()
    pace.started()
    pace.ended(0.01)
    assert pace.gather_s == 0.25
    pace.ended(0.2)
    assert pace.gather_s == pytest.approx(0.4)
    pace.ended(60.0)
    assert pace.gather_s == 0.75
    clock.now += 1
    assert pace.gather_s < 0


def busy(pace: CommitPace, clock: Clock, after_s: float, decoded_bytes: int) -> bool:
    """Whether it is busy once this was found, so long after the last read."""
    clock.now += after_s
    pace.read()
    pace.found(decoded_bytes)
    return pace.is_busy


def test_nobody_rests_while_much_comes_in() -> None:
    pace, clock = paced()
    assert not busy(pace, clock, 5, 0)
    assert busy(pace, clock, 0.25, 2**20)
    assert not busy(pace, clock, 5, 2**20)  # as much, gathered for longer, is little
    assert busy(pace, clock, 0.25, 64 * 2**20)
    assert not busy(pace, clock, 0.25, 0)


def test_a_trickle_is_gathered_for_longer() -> None:
    pace, clock = paced()
    assert pace.trickle_s <= 0
    busy(pace, clock, 1, 100 * 2**10)
    pace.started()
    assert (pace.gather_s, pace.trickle_s) == (0.25, 0.375)
    pace.ended(0.2)  # a costly one waits for longer anyway
    assert (pace.gather_s, pace.trickle_s) == pytest.approx((0.4, 0.375))
    busy(pace, clock, 1, 200 * 2**10)
    pace.started()
    assert pace.trickle_s <= 0
