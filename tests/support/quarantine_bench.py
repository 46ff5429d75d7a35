"""A quarantine over a queue in memory, and a worker's loop that can fail or die of a batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from penstock_common.queue.entries import Entry
from penstock_workers.quarantine.quarantine import Quarantine, Verdict
from penstock_workers.quarantine.quarantine_records import ShardRecord, TriedEntry, Tries
from penstock_workers.shards.reads import Read

__all__ = ["MAX_DELIVERIES", "Bench", "MemoryQueue", "at_once", "run_of"]

ResultT = TypeVar("ResultT")

MAX_DELIVERIES = 5


def at_once(work: Coroutine[None, None, ResultT]) -> ResultT:
    """What this returns. Over a queue in memory nothing waits, and a loop for each turn takes longer than
    the turn."""
    try:
        work.send(None)
    except StopIteration as ended:
        result: ResultT = ended.value
        return result
    raise AssertionError("it waits")


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
        selections = quarantine.selections(read)
        passed = {each.shard: each.passed for each in selections}
        start = selections[0].start if selections else ""
        found = [
            each
            for each in self.entries.values()
            if each.shard in read.shards
            and read.writer in ("", each.writer)
            and each.writer not in (over := passed[each.shard])
            and not (over and each.id.decode() in over)
            and (not start or _place(each.id.decode()) >= _place(start))
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
        refuses: Callable[[str, int], bool] = lambda run, seq: False,
        ends_early: Iterable[bool] | None = None,
        is_named: bool = False,
        most: int = 1_000_000,
    ) -> None:
        self.queue = queue or MemoryQueue()
        self.is_bad = is_bad
        self.kills = kills
        self.refuses = refuses
        """Which batches a store refuses, once they are being stored."""
        self.ends_early = None if ends_early is None else iter(ends_early)
        """For each commit, whether it ends before the next read is chosen. Without it, all do at once."""
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
        self.in_hand: tuple[Read, list[Entry]] | None = None
        self.reads = []
        self.lives.append(self.reads)
        self.owner_crashed = owner_crashed
        self.quarantine = Quarantine(
            self.queue, self.queue, max_deliveries=MAX_DELIVERIES, clock=lambda: self.now_s
        )

    def turn_now(self) -> Read:
        return at_once(self.turn())

    async def turn(self) -> Read:
        self.turns += 1
        self.now_s += 0.05
        await self.quarantine.hold([0, 1], [0, 1] if self.owner_crashed else [])
        if self.ends_early is not None and next(self.ends_early, True) and await self._finish():
            return Read([])
        read = self.quarantine.next_read([0, 1])
        entries = self.queue.select(self.quarantine, read)
        if self.in_hand is not None:  # the queue was read up to here
            held = {each.id for each in self.in_hand[1]}
            entries = [each for each in entries if each.id not in held]
            if (not entries or read.is_isolated) and await self._finish():
                return read
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
            if await self._finish():
                return read
            if not bad:
                self.in_hand = read, entries
                if self.ends_early is None:
                    await self._finish()
                return read
            to_blame = bad[0] if self.is_named else None
            error = ValueError("no good")
            verdict = await self.quarantine.failed(read, entries, error, to_blame)
            self.narrowed += verdict is Verdict.NARROWED and not read.writer
        self.is_at_fault = verdict is Verdict.WORKER_AT_FAULT
        return read

    async def _finish(self) -> bool:
        """The commit in hand ends; True if a store refused it, and all is read again."""
        if self.in_hand is None:
            return False
        (read, entries), self.in_hand = self.in_hand, None
        if not any(self.refuses(run_of(each), each.seq) for each in entries):
            await self._store(read, entries)
            return False
        await self.quarantine.failed(read, entries, ValueError("refused"), None)
        return True

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
        """Turn until nothing is queued."""
        for _ in range(turns):
            if self.is_at_fault or not self.queue.entries:
                return
            self.turn_now()

    @property
    def dead(self) -> list[tuple[str, int]]:
        return [(run_of(each), each.seq) for each in self.queue.dead]


def run_of(entry: Entry) -> str:
    return entry.writer.split("/")[2]
