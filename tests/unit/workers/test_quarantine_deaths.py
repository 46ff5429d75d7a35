"""What is read after a worker died of a batch, or for another reason, over a queue in memory."""

from __future__ import annotations

from support.quarantine_bench import Bench, MemoryQueue, at_once, run_of

from penstock_workers.quarantine.quarantine import Quarantine


def test_a_batch_that_ends_workers_leaves_the_others_ever_more_time() -> None:
    async def wait_s(tries: int) -> float:
        """How long after a start the batch is tried again."""
        now_s = 0.0
        queue = MemoryQueue()
        queue.add("killer", 1)
        (killer,) = queue.entries.values()
        queue.failures[killer.id] = queue.unended[killer.id] = tries
        quarantine = Quarantine(queue, queue, max_deliveries=5, clock=lambda: now_s)
        await quarantine.hold([0], [0])
        while (read := quarantine.next_read([0])).entry_id != killer.id.decode():
            quarantine.found_nothing(read)
            now_s += 0.25
            assert now_s < 60
        return now_s

    waits = [at_once(wait_s(tries)) for tries in range(2, 7)]
    assert [int(each) for each in waits] == [2, 4, 8, 8, 8]


def test_after_a_crash_shards_are_read_apart_until_what_was_queued_is_stored() -> None:
    bench = Bench(lambda run, seq: False)
    for seq in range(5):
        bench.queue.add("a", seq, shard=0)
        bench.queue.add("b", seq, shard=1)
    bench.restart(owner_crashed=True)
    reads = []
    for seq in range(5, 25):
        reads.append(bench.turn_now())
        for run, shard in (("a", 0), ("b", 1)):  # more comes all the time
            bench.queue.add(run, seq, shard)
    apart = [(read.shards, read.limit) for read in reads if read.is_isolated]
    # One, then four, then all the others: 16 have room for them. No shard waits for another one.
    assert apart == [([0, 1], 1), ([0, 1], 4), ([0, 1], 16)]
    assert not bench.quarantine.is_narrowing
    assert reads[-1].shards == [0, 1]


def test_once_it_is_known_what_ends_the_worker_nobody_else_is_read_in_small_parts() -> None:
    bench = Bench(lambda run, seq: False, kills=lambda run, seq: run == "killer" and seq == 1)
    bench.queue.add("killer", 1)

    for turn in range(1_000):
        if not bench.reads:  # what came while no worker ran
            for seq in range(100):
                bench.queue.add("b", 10_000 + 1_000 * turn + seq, 1)
        for run, shard in (("a", 0), ("killer", 0)):
            bench.queue.add(run, 2 + turn, shard)
        bench.turn_now()
    bench.run()
    assert bench.dead == [("killer", 1)]
    assert not bench.queue.parked
    # The first dies of everything, the second of what it looks for; the third still looks for others.
    assert len(bench.lives) == 7
    assert [life[0] > 16 for life in bench.lives] == [True, False, False, True, True, True, True]


def test_two_that_end_workers_are_found_beside_each_other() -> None:
    """Those that are known wait until the search for the others is over."""
    killers = ["first", "second", "third"]
    bench = Bench(lambda run, seq: False, kills=lambda run, seq: run in killers and seq == 1)
    for shard, run in enumerate(killers):
        bench.queue.add(run, 1, shard % 2)
    for seq in range(2, 1_002):
        for run, shard in (("a", 0), ("b", 1)):
            bench.queue.add(run, seq, shard)
    bench.run()
    bench.queue.add("a", 1_002)
    bench.restart()
    bench.run()
    assert sorted(bench.dead) == [(run, 1) for run in killers]
    assert len(bench.stored) == 2_001
    assert [life[0] for life in bench.lives[:5]] == [2_003, 1, 1, 1, 1]
    # All else is stored by the one that has found them, before it dies.
    assert sum(bench.lives[4]) == 2_001


def test_what_was_read_with_others_and_not_tried_is_not_counted() -> None:
    """The worker dies of a read of sixteen. They are read by fours then, and the next worker, which dies of
    the last four, leaves no more against the others."""
    bench = Bench(lambda run, seq: False, kills=lambda run, seq: run == "last")
    for seq in range(1, 21):
        bench.queue.add("a", seq)
    bench.queue.add("last", 1)
    bench.restart(owner_crashed=True)
    while len(bench.lives) == 2:
        bench.turn_now()
    assert sum(bench.reads) == 0
    assert set(bench.queue.failures.values()) == {1}
    begun = len(bench.queue.failures)
    assert begun > 10
    while len(bench.lives) == 3:
        bench.turn_now()
        assert max(bench.queue.failures.values()) <= 2
    assert max(bench.lives[2]) == 4
    twice = [each for each in bench.queue.entries if bench.queue.failures.get(each) == 2]
    assert len(twice) <= 4
    assert run_of(bench.queue.entries[twice[-1]]) == "last"


def test_once_it_is_known_what_ends_the_worker_the_rest_of_a_large_read_is_innocent() -> None:
    """After a crash for another reason, the worker dies of one of hundreds of which it has counted a try."""
    kills = lambda run, seq: run == "killer"  # noqa: E731
    bench = Bench(lambda run, seq: False, kills=kills, is_named=True)
    for seq in range(1, 4_001):
        for run, shard in (("a", 0), ("b", 1)):
            bench.queue.add(run, seq, shard)
    bench.queue.add("killer", 1)
    for seq in range(4_001, 5_001):
        bench.queue.add("a", seq)
    bench.restart(owner_crashed=True)
    while len(bench.lives) == 2:
        bench.turn_now()
    assert bench.lives[1][-1] > 500
    assert set(bench.queue.failures.values()) == {1}
    bench.run()
    assert bench.dead == [("killer", 1)]
    assert len(bench.stored) == 9_000
    # The next one reads a quarter as many, five times, and then the killer alone, as those after it do.
    assert [len(life) for life in bench.lives[2:]] == [6, 1, 1, 1, 0]


def test_a_process_that_dies_of_reading_too_much_reads_less_and_blames_nobody_for_good() -> None:
    """As one that runs out of memory: whatever it was working on is innocent."""
    bench = Bench(lambda run, seq: False, is_named=True, most=50)
    for seq in range(2_000):
        for run, shard in (("a", 0), ("b", 1)):
            bench.queue.add(run, seq, shard)
    bench.run()
    assert not bench.dead
    assert len(bench.stored) == 4_000
    assert len(bench.lives) <= 8


def test_hundreds_that_were_tried_together_are_not_read_one_by_one() -> None:
    """As after a `kill -9` in the middle of a large commit: none of them is to blame."""
    bench = Bench(lambda run, seq: False)
    for seq in range(1_000):
        bench.queue.add("a", seq)
    at_once(bench.queue.begin([*bench.queue.entries.values()], is_searching=True))
    bench.restart(owner_crashed=True)
    bench.run()
    assert len(bench.stored) == 1_000
    assert max(bench.reads) == 4
    # Every second turn is for the other shard, which has nothing.
    assert bench.turns <= 520


def test_after_a_crash_little_is_risked_for_what_is_stored() -> None:
    """If the process dies again, everything that it had read has to be read alone."""
    bench = Bench(lambda run, seq: False)
    for seq in range(5_000):
        bench.queue.add("a", seq)
    bench.restart(owner_crashed=True)
    stored, sizes = 0, []
    while bench.queue.entries:
        bench.turn_now()
        sizes.append(len(bench.stored) - stored)
        assert sizes[-1] <= max(16, stored // 8 + 1)
        stored = len(bench.stored)
    assert sizes[:4] == [1, 4, 16, 16]
    assert len(sizes) < 60
