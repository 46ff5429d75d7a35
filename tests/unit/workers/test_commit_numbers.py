"""The versions of rows: what is written later, or by a later owner of the shard, wins."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penstock_workers.commits.commit_numbers import CommitNumbers, version, versions

EPOCHS = st.integers(1, 2**31)
NUMBERS = st.integers(0, 2**32 - 1)


def test_numbers_only_grow() -> None:
    numbers = CommitNumbers()
    assert numbers.last == 0
    for number in (numbers.next() for _ in range(100)):
        assert number == numbers.last
        assert numbers.next() > number


@given(EPOCHS, NUMBERS, NUMBERS)
def test_a_later_owner_wins_over_every_number_of_an_earlier_one(
    epoch: int, earlier: int, later: int
) -> None:
    assert version(epoch + 1, later) > version(epoch, earlier)
    assert (version(epoch, later) > version(epoch, earlier)) is (later > earlier)


def test_each_row_has_the_version_of_its_shard() -> None:
    found = versions({0: 3, 15: 4}, 7, np.array([15, 0, 1, 15], np.uint8))
    assert found.tolist() == [version(4, 7), version(3, 7), 0, version(4, 7)]
