"""The set of committed numbers against a plain set of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock_workers.batches.committed import CommittedSeqs


@sized(5_000)
@given(st.lists(st.integers(1, 30)))
def test_it_holds_what_was_added_in_any_order(seqs: list[int]) -> None:
    committed = CommittedSeqs(0)
    for seq in seqs:
        committed.add(seq)
    assert [n for n in range(1, 40) if n in committed] == sorted(set(seqs))
    first_hole = next(n for n in range(1, 41) if n not in seqs)
    assert committed.low == first_hole - 1
    assert all(gap > committed.low for gap in committed.gaps)


def test_what_the_writer_has_freed_counts_as_committed() -> None:
    committed = CommittedSeqs(0, low=3, gaps=[6])
    committed.add(9, released=8)
    assert committed.low == 9
    assert not committed.gaps
