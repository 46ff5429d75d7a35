"""Shards that fail are read alone and in small parts, the others meanwhile, and both end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock_workers.caution import Caution


def test_all_shards_are_read_together_without_a_failure() -> None:
    caution = Caution()
    assert not caution
    assert caution.choose([3, 1]) == ([1, 3], 1_000_000)
    assert caution.choose([]) == ([], 1_000_000)


@given(st.dictionaries(st.integers(0, 4), st.integers(1, 5_000), min_size=2))
def test_after_a_failure_every_shard_gets_its_turn(counts: dict[int, int]) -> None:
    caution = Caution()
    caution.failed(counts)
    groups = [caution.choose(range(6)) for _ in range(len(counts) + 1)]
    assert sorted(shard for group, _ in groups for shard in group) == list(range(6))
    for group, limit in groups:
        if group[0] in counts:
            assert (len(group), limit) == (1, counts[group[0]])
        else:
            assert limit == 1_000_000


@given(st.integers(1, 100_000), st.data())
def test_a_culprit_is_alone_after_few_failures(count: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, count - 1))
    caution, failures, done = Caution(), 0, 0
    while True:
        _, limit = caution.choose([7])
        part = min(limit, count - done)
        if done <= at < done + part:
            if part == 1:
                break
            failures += 1
            caution.failed({7: part})
        else:
            done += part
            caution.passed(7)
    assert failures <= 40


def test_trust_grows_back() -> None:
    caution = Caution()
    caution.suspect(2)
    limits = []
    while 2 in caution:
        limits.append(caution.choose([2])[1])
        caution.passed(2)
    assert limits == [4**n for n in range(8)]


def test_a_stopped_shard_is_not_read_until_it_is_trusted() -> None:
    caution = Caution()
    caution.suspect(1)
    caution.stopped.add(1)
    assert [caution.choose([0, 1])[0] for _ in range(3)] == [[0]] * 3
    caution.trust(1)
    assert caution.choose([0, 1]) == ([0, 1], 1_000_000)
