"""What is read next and what becomes of failures, over a queue in memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock_workers.quarantine import Quarantine, Verdict
from penstock_workers.quarantine_records import ShardRecord, TriedEntry, Tries
from penstock_workers.queue import Entry
from penstock_workers.reads import Read

MAX_DELIVERIES = 5


def _place(entry_id: str) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split("-")))


class MemoryQueue:
    """Streams, and what is remembered of failures, as Redis keeps it."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.parked: dict[tuple[int, str], list[Entry]] = {}
        self.failures: dict[bytes, int] = {}
        self.unended: dict[bytes, int] = {}
        self.alone: dict[int, tuple[bytes, bool]] = {}
        self.was_read_with: dict[int, int] = {}
        self.letters: dict[tuple[int, str], int] = {}
        self.failing: dict[int, set[str]] = {}
        self.dead: list[Entry] = []
        self.faults = 0
        self.has_more = False
        self._ids = itertools.count(1)

    def add(self, run: str, seq: int, shard: int = 0) -> None:
        writer = f"e/p/{run}/w"
        entry = Entry(shard, f"{next(self._ids)}-0".encode(), writer, seq, b"", 0)
        if (shard, writer) in self.parked:
            self.parked[shard, writer].append(entry)
        else:
            self.entries[entry.id] = entry

    def select(self, quarantine: Quarantine, read: Read) -> list[Entry]:
        """Entries in the order of their ids, as the worker reads them from the start."""
        if read.entry_id:
            entry = self.entries.get(read.entry_id.encode())
            return [entry] if entry else []
        passed = {shard: quarantine.passed_over(shard, read.writer) for shard in read.shards}
        start = quarantine.start_of(read.shards[0], read.writer) if read.writer else ""
        found = [
            each
            for each in self.entries.values()
            if each.shard in read.shards
            and read.writer in ("", each.writer)
            and not {each.writer, each.id.decode()} & passed[each.shard]
            and _place(each.id.decode()) >= _place(start or "0-0")
        ]
        self.has_more = len(found) > read.limit
        return found[: read.limit]

    # -- Records

    async def load(self, shard: int) -> ShardRecord:
        blamed, is_searching = self.alone.pop(shard, (b"", False))
        is_known = self.unended.get(blamed, 0) > 0
        if is_known and self.failures[blamed] == 1:
            self.failures[blamed] = 2
        begun = [each for each in self.entries.values() if each.shard == shard]
        begun = [each for each in begun if each.id in self.failures]
        tried = [
            TriedEntry(each.id.decode(), each.writer, self.failures[each.id])
            for each in begun
            if self.failures[each.id] > 1
        ]
        letters = {writer: count for (at, writer), count in self.letters.items() if at == shard}
        parked = {writer for at, writer in self.parked if at == shard}
        failing = set(self.failing.get(shard, ()))
        explained = is_known and not is_searching
        was_begun, count = len(tried) < len(begun), self.was_read_with.pop(shard, 0)
        return ShardRecord(tried, was_begun, explained, count, letters, failing, parked)

    async def begin(self, entries: Sequence[Entry], *, is_searching: bool) -> None:
        if len(entries) == 1:
            self.alone[entries[0].shard] = entries[0].id, is_searching
        for entry in entries:
            self.failures[entry.id] = self.failures.get(entry.id, 0) + 1
            self.unended[entry.id] = self.unended.get(entry.id, 0) + 1

    def blame(self, entry: Entry, counted: Collection[int], count: int) -> None:
        """As the flight recorder knows it."""
        if not self.unended.get(entry.id, 0):
            self.failures[entry.id] = self.failures.get(entry.id, 0) + 1
            self.unended[entry.id] = self.unended.get(entry.id, 0) + 1
        self.alone[entry.shard] = entry.id, False
        self.was_read_with[entry.shard] = count - 1
        for each in self.entries.values():
            once = self.failures.get(each.id), self.unended.get(each.id)
            if each.id != entry.id and each.shard in counted and once == (1, 1):
                del self.failures[each.id], self.unended[each.id]

    async def fail(self, entry: Entry, *, was_begun: bool) -> int:
        if was_begun:
            self.alone.pop(entry.shard, None)
            self.unended[entry.id] -= 1
        else:
            self.failures[entry.id] = self.failures.get(entry.id, 0) + 1
        return self.failures[entry.id]

    async def tries(self, entries: Sequence[Entry]) -> list[Tries]:
        return [
            Tries(self.failures.get(each.id, 0), self.unended.get(each.id, 0)) for each in entries
        ]

    async def note_failing(self, shard: int, run: str) -> None:
        self.failing.setdefault(shard, set()).add(run)

    async def note_success(self, shards: Iterable[int]) -> None:
        for shard in shards:
            self.failing.pop(shard, None)

    async def note_fault(self) -> int:
        self.faults += 1
        return self.faults

    async def note_dead_letter(self, shard: int, writer: str) -> int:
        self.letters[shard, writer] = self.letters.get((shard, writer), 0) + 1
        return self.letters[shard, writer]

    async def forget_dead_letters(self, shard: int, writer: str) -> None:
        self.letters.pop((shard, writer), None)

    async def park(self, shard: int, writer: str, reason: str, first: Sequence[str] = ()) -> None:
        held = self.parked.setdefault((shard, writer), [])
        for each in [each for each in self.entries.values() if each.writer == writer]:
            held.append(self.entries.pop(each.id))

    async def probe(self, shard: int, writers: Collection[str]) -> None:
        for name in [name for name in self.parked if name[0] == shard and name[1] in writers]:
            held = self.parked[name]
            held.sort(key=lambda each: each.seq)
            self._back(held[:1])
            del held[:1]
            if not held:
                del self.parked[name]

    async def unpark(self, shard: int, writer: str) -> None:
        self._back(sorted(self.parked.pop((shard, writer), []), key=lambda each: each.seq))

    def _back(self, entries: list[Entry]) -> None:
        for each in entries:
            entry = replace(each, id=f"{next(self._ids)}-0".encode())
            self.entries[entry.id] = entry

    # -- dead letters

    async def dead_letter(self, entry: Entry, _: str) -> None:
        self.dead.append(self.entries.pop(entry.id))

    async def drop(self, entry: Entry) -> None:
        del self.entries[entry.id]


class Bench:
    """A worker's loop over it. `is_bad` says which batches fail, `kills` which end the process; time passes
    a little each turn."""

    def __init__(
        self,
        is_bad: Callable[[str, int], bool],
        queue: MemoryQueue | None = None,
        *,
        kills: Callable[[str, int], bool] = lambda run, seq: False,
        is_named: bool = False,
        most: int = 1_000_000,
    ) -> None:
        self.queue = queue or MemoryQueue()
        self.is_bad = is_bad
        self.kills = kills
        self.most = most
        """The most entries that the process can read without dying."""
        self.is_named = is_named
        """Whether it is known which batch of a read failed, or ended the process."""
        self.reads: list[int] = []
        """How many entries each read of this life took."""
        self.lives: list[list[int]] = []
        self.now_s = 0.0
        self.stored: list[tuple[str, int]] = []
        self.stored_at: dict[tuple[str, int], int] = {}
        self.turns = 0
        self.narrowed = 0
        self.is_at_fault = False
        self.restart()

    def restart(self, *, owner_crashed: bool = False) -> None:
        self.is_at_fault = False
        self.reads = []
        self.lives.append(self.reads)
        self.owner_crashed = owner_crashed
        self.quarantine = Quarantine(
            self.queue, self.queue, max_deliveries=MAX_DELIVERIES, clock=lambda: self.now_s
        )
        self.shards: set[int] = set()

    def turn_now(self) -> Read:
        return asyncio.run(self.turn())

    async def turn(self) -> Read:
        self.turns += 1
        self.now_s += 0.05
        for shard in {0, 1} - self.shards:
            await self.quarantine.gained(shard, owner_crashed=self.owner_crashed)
            self.shards.add(shard)
        read = self.quarantine.next_read([0, 1])
        entries = self.queue.select(self.quarantine, read)
        if not entries:
            self.quarantine.found_nothing(read)
            return read
        if read.is_isolated and not read.entry_id:
            read = replace(read, is_rest=not self.queue.has_more)
        verdict = await self.quarantine.begin(read, entries) if read.is_counted else None
        if verdict is None:
            self.reads.append(len(entries))
            killers = [each for each in entries if self.kills(run_of(each), each.seq)]
            killers += entries[self.most : self.most + 1]
            if killers:
                self.now_s += 2.0
                if self.is_named:
                    counted = {each.shard for each in entries} if read.is_counted else ()
                    self.queue.blame(killers[0], counted, len(entries))
                self.restart(owner_crashed=True)
                return read
            bad = [each for each in entries if self.is_bad(run_of(each), each.seq)]
            if not bad:
                await self._store(read, entries)
                return read
            to_blame = bad[0] if self.is_named else None
            error = ValueError("no good")
            verdict = await self.quarantine.failed(read, entries, error, to_blame)
            self.narrowed += verdict is Verdict.NARROWED and not read.writer
        self.is_at_fault = verdict is Verdict.WORKER_AT_FAULT
        return read

    async def _store(self, read: Read, entries: list[Entry]) -> None:
        for each in entries:
            del self.queue.entries[each.id]
            self.queue.failures.pop(each.id, None)
            self.queue.unended.pop(each.id, None)
            self.stored.append((run_of(each), each.seq))
            self.stored_at.setdefault((run_of(each), each.seq), self.turns)
        stored = {(each.shard, each.writer) for each in entries}
        await self.quarantine.passed(read, entries, stored)

    def run(self, turns: int = 2_000) -> None:
        async def go() -> None:
            for _ in range(turns):
                if self.is_at_fault or not self.queue.entries:
                    return
                await self.turn()

        asyncio.run(go())

    @property
    def dead(self) -> list[tuple[str, int]]:
        return [(run_of(each), each.seq) for each in self.queue.dead]


def run_of(entry: Entry) -> str:
    return entry.writer.split("/")[2]


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
    assert not bench.quarantine.passed_over(0)


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


def test_a_batch_that_ends_workers_leaves_the_others_ever_more_time() -> None:
    async def wait_s(tries: int) -> float:
        """How long after a start the batch is tried again."""
        now_s = 0.0
        queue = MemoryQueue()
        queue.add("killer", 1)
        (killer,) = queue.entries.values()
        queue.failures[killer.id] = queue.unended[killer.id] = tries
        quarantine = Quarantine(queue, queue, max_deliveries=5, clock=lambda: now_s)
        await quarantine.gained(0, owner_crashed=True)
        while (read := quarantine.next_read([0])).entry_id != killer.id.decode():
            quarantine.found_nothing(read)
            now_s += 0.25
            assert now_s < 60
        return now_s

    waits = [asyncio.run(wait_s(tries)) for tries in range(2, 7)]
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

    async def go() -> None:
        for turn in range(1_000):
            if not bench.reads:  # what came while no worker ran
                for seq in range(100):
                    bench.queue.add("b", 10_000 + 1_000 * turn + seq, 1)
            for run, shard in (("a", 0), ("killer", 0)):
                bench.queue.add(run, 2 + turn, shard)
            await bench.turn()

    asyncio.run(go())
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
    asyncio.run(bench.queue.begin([*bench.queue.entries.values()], is_searching=True))
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


def test_a_parked_writer_is_tried_once_after_a_restart_and_comes_back_in_order() -> None:
    bench = Bench(lambda run, seq: run == "bad")
    for seq in range(1, 9):
        bench.queue.add("bad", seq)
    bench.run()
    assert len(bench.dead) == 3
    bench.restart()
    asyncio.run(bench.turn())
    bench.run()
    assert len(bench.dead) == 3
    (held,) = bench.queue.parked.values()
    assert sorted(each.seq for each in held) == [4, 5, 6, 7, 8]
    assert max(bench.queue.failures.values()) <= MAX_DELIVERIES + 1
    bench.is_bad = lambda run, seq: False
    bench.restart()
    asyncio.run(bench.turn())
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

    async def go() -> None:
        for turn in range(1, 3_000):
            if turn % 40 == 0:
                bench.queue.add("good", turn)
            await bench.turn()
            assert not bench.is_at_fault

    asyncio.run(go())
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
        asyncio.run(bench.turn())
    assert len(bench.queue.parked) == 3
    for _ in range(5):
        bench.restart()
        for _ in range(400):
            asyncio.run(bench.turn())
            assert not bench.is_at_fault
        assert len(bench.queue.parked) == 3
        assert len(bench.dead) == 9


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
