"""Each one that waits gets a turn, however many come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock_workers.shards.fair_turns import FairTurns


@sized(2_000)
@given(st.lists(st.sets(st.integers(1, 9)), max_size=60))
def test_nobody_waits_for_more_turns_than_there_are_others(rounds: list[set[int]]) -> None:
    turns, waited = FairTurns[int](), 0
    for others in rounds:
        chosen = turns.next([*sorted(others), 0])
        waited = 0 if chosen == 0 else waited + 1
        # Those who came before it, and no one who comes later.
        assert waited <= 9


def test_those_that_stay_take_turns() -> None:
    turns = FairTurns[str]()
    assert [turns.next("abc") for _ in range(6)] == [*"abcabc"]
    assert [turns.next("cad") for _ in range(3)] == [*"acd"]
