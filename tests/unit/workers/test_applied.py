"""The applied set against a plain set of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock_workers.applied import AppliedSet


@given(st.lists(st.integers(1, 30)))
def test_it_holds_what_was_added_in_any_order(seqs: list[int]) -> None:
    applied = AppliedSet(0)
    for seq in seqs:
        applied.add(seq)
    assert [n for n in range(1, 40) if n in applied] == sorted(set(seqs))
    first_hole = next(n for n in range(1, 41) if n not in seqs)
    assert applied.low == first_hole - 1
    assert all(gap > applied.low for gap in applied.gaps)


def test_what_the_writer_has_freed_counts_as_applied() -> None:
    applied = AppliedSet(0, low=3, gaps=[6])
    applied.add(9, acked=8)
    assert applied.low == 9
    assert not applied.gaps
