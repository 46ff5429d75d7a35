"""How fast a project is told that it is over its quota."""

from __future__ import annotations

from itertools import pairwise

from penstock_ingest.refusals import RefusalPace

NOISY, QUIET = ("team", "noisy"), ("team", "quiet")


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_few_are_answered_at_once_and_the_others_in_turn() -> None:
    pace = RefusalPace(Time())
    held = [pace.hold_s(NOISY) for _ in range(60)]
    assert held[:20] == [0.0] * 20
    assert all(0 < earlier < later for earlier, later in pairwise(held[20:]))
    assert abs(held[59] - 2.0) < 1e-6  # 40 more than at once, 20 a second
    assert pace.hold_s(QUIET) == 0


def test_no_answer_is_held_for_longer_than_clients_wait() -> None:
    clock = Time()
    pace = RefusalPace(clock)
    assert max(pace.hold_s(NOISY) for _ in range(10_000)) == 5.0
    clock.now += 5.0
    assert pace.hold_s(NOISY) < 0.1  # and it is not punished for longer
    clock.now += 1.1
    assert [pace.hold_s(NOISY) for _ in range(20)] == [0.0] * 20


def test_ever_new_projects_do_not_grow_memory() -> None:
    clock = Time()
    pace = RefusalPace(clock)
    for number in range(25_000):
        for _ in range(25):
            pace.hold_s(("team", str(number)))
    assert len(pace._next_at) <= 10_000
