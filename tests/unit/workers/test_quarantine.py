"""What is read next and what becomes of batches that fail, over a queue in memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized
from support.quarantine_bench import MAX_DELIVERIES, Bench, run_of

from penstock_workers.shards.reads import Read


@sized(5_000)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 1)), min_size=1, max_size=60),
    st.integers(0, 59),
    st.booleans(),
)
def test_one_bad_batch_becomes_a_dead_letter_and_all_else_is_stored(
    sent: list[tuple[str, int]], at: int, is_named: bool
) -> None:
    at %= len(sent)
    bench = Bench(lambda run, seq: run == sent[at][0] and seq == at, is_named=is_named)
    for seq, (run, shard) in enumerate(sent):
        bench.queue.add(run, seq, shard)
    bench.run()
    assert bench.dead == [(sent[at][0], at)]
    assert sorted(bench.stored) == sorted(
        (run, seq) for seq, (run, _) in enumerate(sent) if seq != at
    )
    assert not bench.queue.parked
    # What lies before it and after it does not wait until its writer is read with the others again.
    assert bench.now_s < 15


def test_a_batch_that_is_known_to_have_failed_is_not_searched_for() -> None:
    bench = Bench(lambda run, seq: run == "bad" and seq == 1, is_named=True)
    bench.queue.add("bad", 1)
    for seq in range(2, 1_002):
        for run, shard in (("bad", 0), ("a", 0), ("b", 1)):
            bench.queue.add(run, seq, shard)
    bench.turn_now()
    bench.run()
    assert bench.dead == [("bad", 1)]
    assert len(bench.stored) == 3_000
    assert bench.narrowed == 0
    others = [bench.stored_at["a", 1_001], bench.stored_at["b", 1_001]]
    # A quarter, then the rest of them; every second turn is the failed batch's.
    assert max(others) <= 8


def test_a_writer_that_keeps_failing_is_parked_and_nobody_waits_for_it() -> None:
    bench = Bench(lambda run, seq: run == "bad")
    for seq in range(1, 31):
        bench.queue.add("bad", seq)
    for seq in range(1, 11):
        bench.queue.add("good", seq)
    bench.run()
    assert sorted(bench.stored) == [("good", seq) for seq in range(1, 11)]
    # The shard is read in small parts at first, then the others flow.
    assert max(bench.stored_at.values()) <= 40
    assert len(bench.dead) == 3
    (held,) = bench.queue.parked.values()
    assert len(held) == 27
    # What comes later is parked at once.
    bench.queue.add("bad", 31)
    assert not bench.queue.entries
    assert len(held) == 28


def test_a_writer_that_fails_now_and_then_is_searched_for_once() -> None:
    """Everybody's reads fail together with its first bad batch, and with none of those after it."""
    bench = Bench(lambda run, seq: run == "some" and seq % 10 == 0)
    before = 0
    for seq in range(1, 101):
        for run in ("some", "good", "fine"):
            bench.queue.add(run, seq)
        bench.run()  # until all is out of the queue
        for _ in range(4):  # and nothing is left to read
            bench.turn_now()
        if seq == 15:
            before = bench.narrowed
    assert len(bench.dead) == 10
    assert 0 < before == bench.narrowed
    # A minute without a failure, and it is one of many again.
    for _ in range(2_000):
        bench.turn_now()
    assert not bench.quarantine.selections(Read([0]))[0].passed


def test_looking_for_many_on_probation_costs_no_more_than_for_one() -> None:
    bench = Bench(lambda run, seq: seq == 1)
    for number in range(20):
        bench.queue.add(f"run{number}", 1)
        bench.queue.add(f"run{number}", 2)
        bench.run()
        bench.queue.add("good", number + 100)
        bench.run()
    assert len(bench.dead) == 20
    looks = [bench.turn_now().writer for _ in range(400)]  # 20 s
    assert 50 <= sum(map(bool, looks)) <= 110


def test_a_parked_writer_is_tried_once_after_a_restart_and_comes_back_in_order() -> None:
    bench = Bench(lambda run, seq: run == "bad")
    for seq in range(1, 9):
        bench.queue.add("bad", seq)
    bench.run()
    assert len(bench.dead) == 3
    bench.restart()
    bench.turn_now()
    bench.run()
    assert len(bench.dead) == 3
    (held,) = bench.queue.parked.values()
    assert sorted(each.seq for each in held) == [4, 5, 6, 7, 8]
    assert max(bench.queue.failures.values()) <= MAX_DELIVERIES + 1
    bench.is_bad = lambda run, seq: False
    bench.restart()
    bench.turn_now()
    bench.run()
    assert bench.stored == [("bad", seq) for seq in (4, 5, 6, 7, 8)]
    assert not bench.queue.parked
    assert not bench.queue.letters


def test_a_success_between_them_parks_nobody() -> None:
    bench = Bench(lambda run, seq: seq % 2 == 1)
    for seq in range(1, 41):
        bench.queue.add("half", seq)
    bench.run()
    assert sorted(bench.stored) == [("half", seq) for seq in range(2, 41, 2)]
    assert not bench.queue.parked
    assert len(bench.dead) == 20


def test_a_bad_release_sets_nothing_aside_and_is_clean_after_the_fix() -> None:
    bench = Bench(lambda run, seq: True)
    sent = [(run, seq) for seq in range(1, 6) for run in ("a", "b", "c")]
    for run, seq in sent:
        bench.queue.add(run, seq)
    for _ in range(4):
        bench.run()
        assert bench.is_at_fault
        bench.restart()
    assert not bench.dead
    assert not bench.queue.parked
    bench.is_bad = lambda run, seq: False
    bench.run()
    assert sorted(bench.stored) == sorted(sent)
    assert not bench.queue.failing


def test_poison_in_many_runs_does_no_harm_while_others_are_stored() -> None:
    bench = Bench(lambda run, seq: run.startswith("bad"))
    for run in range(12):
        for seq in range(1, 7):
            bench.queue.add(f"bad{run}", seq, shard=run % 2)
    bench.queue.add("good", 0)

    for turn in range(1, 3_000):
        if turn % 40 == 0:
            bench.queue.add("good", turn)
        bench.turn_now()
        assert not bench.is_at_fault
    assert len(bench.dead) == 36
    assert len(bench.queue.parked) == 12
    assert not bench.queue.entries
    waits = [at - seq for (run, seq), at in bench.stored_at.items() if seq]
    assert max(waits) <= 8


def test_poison_alone_is_resolved_by_anybodys_good_batch() -> None:
    bench = Bench(lambda run, seq: run != "good")
    for run in ("x", "y", "z"):
        bench.queue.add(run, 1)
    bench.run()
    assert bench.is_at_fault
    assert not bench.dead
    bench.restart()
    bench.queue.add("good", 1, shard=1)
    bench.run()
    assert sorted(run for run, _ in bench.dead) == ["x", "y", "z"]
    assert not bench.is_at_fault


def test_probes_of_parked_writers_do_not_put_the_worker_at_fault() -> None:
    bench = Bench(lambda run, seq: run != "good")
    for run in ("x", "y", "z"):
        for seq in range(1, 9):
            bench.queue.add(run, seq)
    bench.queue.add("good", 1)
    for turn in range(2_000):
        if turn % 20 == 0:
            bench.queue.add("good", turn + 2, shard=1)
        bench.turn_now()
    assert len(bench.queue.parked) == 3
    for _ in range(5):
        bench.restart()
        for _ in range(400):
            bench.turn_now()
            assert not bench.is_at_fault
        assert len(bench.queue.parked) == 3
        assert len(bench.dead) == 9


@sized(1_000)
@given(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=12),
    st.sets(st.integers(0, 11), max_size=1),
    st.sets(st.integers(0, 11), max_size=1),
    st.lists(st.booleans(), max_size=40),
    st.booleans(),
)
def test_commits_in_hand_may_end_at_any_time(
    runs: list[str], bad: set[int], refused: set[int], ends_early: list[bool], is_named: bool
) -> None:
    """A worker reads the next batches while it stores the last ones: whether these are stored, or refused,
    before the next read is chosen or after it, every good batch is stored and only bad ones are not."""
    bench = Bench(
        lambda run, seq: seq in bad,
        is_named=is_named,
        refuses=lambda run, seq: seq in refused,
        ends_early=ends_early,
    )
    for seq, run in enumerate(runs):
        bench.queue.add(run, seq, shard=ord(run) % 2)
    bench.run()
    sent = dict(enumerate(runs))
    assert sorted(seq for _, seq in bench.stored) == [
        seq for seq in sent if seq not in bad | refused
    ]
    assert sorted(seq for _, seq in bench.dead) == [seq for seq in sent if seq in bad | refused]


@sized(1_000)
@given(st.data())
def test_every_batch_is_stored_dead_or_parked(data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.tuples(st.sampled_from("abcdef"), st.integers(1, 9))))
    killers = data.draw(
        st.sets(st.tuples(st.sampled_from("abcdef"), st.integers(1, 9)), max_size=3)
    )
    bad -= killers
    bench = Bench(
        lambda run, seq: (run, seq) in bad,
        kills=lambda run, seq: (run, seq) in killers,
        is_named=data.draw(st.booleans()),
    )
    sent = {(run, seq) for run in "abcdef" for seq in range(1, 10)}
    for run, seq in data.draw(st.permutations(sorted(sent))):
        bench.queue.add(run, seq, shard=ord(run) % 2)
    for beat in range(6):  # somebody's good batch comes now and then
        bench.queue.add("good", beat)
        bench.run(800)
        if bench.is_at_fault:
            bench.restart()
    held = {(run_of(each), each.seq) for of in bench.queue.parked.values() for each in of}
    left = {(run_of(each), each.seq) for each in bench.queue.entries.values()}
    stored = {each for each in bench.stored if each[0] != "good"}
    assert not stored & (bad | killers)
    assert set(bench.dead) <= bad | killers
    assert stored | set(bench.dead) | held | left == sent
    assert not left
