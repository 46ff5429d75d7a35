"""Which entries are read next, and what becomes of those that fail.

Its invariants:

- Nothing is lost: an entry leaves its stream as stored, as a dead letter, or parked.
- Narrowing down works by shard, since what fails, or ends the process, may name no writer. Verdicts
  are about one batch or one writer. No shard is ever stopped.
- Once a batch failed by itself, its writer is read apart from all others: everybody else goes on. So
  do the writer's other batches, as long as only a few of them are held back.
- A batch becomes a dead letter after `max_deliveries` tries; a writer with three dead letters in a
  row is parked, and stays parked at its next failure until a batch of it is stored.
- Failures in three or more runs, with nothing stored since the first of them, mean that the worker
  is at fault: then there are no dead letters, and nobody is parked. Success is asked for first: a
  batch is judged only after everything else had its turn.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice

from penstock_workers.quarantine_contracts import Records, Undertaker
from penstock_workers.quarantine_records import ShardRecord
from penstock_workers.queue import Entry

__all__ = ["NO_LIMIT", "Quarantine", "Read", "Verdict"]

_LOG = logging.getLogger(__name__)

NO_LIMIT = 1_000_000
_STEP = 4
_ENOUGH = 65_536
"""A shard whose parts have grown to this again is read with the others."""

_LETTERS_TO_PARK = 3
_RUNS_TO_DOUBT = 3
_HELD_PER_WRITER = 3
_APART_AT_ONCE = 256
_FIRST_PEACE_S, _LONGEST_PEACE_S = 1.0, 8.0
"""How long a batch that ended a worker waits before it may end the next one: everybody else's are
stored meanwhile."""
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_LOOK_EVERY_S = 0.2
_QUIET_S = 5.0
"""How long nothing must have been stored before the worker calls itself at fault."""


class Verdict(Enum):
    """What becomes of entries that could not be processed."""

    NARROWED = "narrowed"
    """They are read again in smaller parts."""
    AGAIN = "again"
    DEAD = "dead"
    PARKED = "parked"
    WORKER_AT_FAULT = "worker at fault"


@dataclass(frozen=True, slots=True)
class Read:
    """What to read: at most `limit` entries of these shards, or only those of one writer, or one
    entry that failed before."""

    shards: Sequence[int]
    limit: int = NO_LIMIT
    writer: str = ""
    entry_id: str = ""
    is_counted: bool = False
    """Each try is to be counted before it is made: it may end the process."""

    @property
    def is_apart(self) -> bool:
        return self.limit != NO_LIMIT


@dataclass(slots=True)
class _Held:
    """A batch that failed by itself; `successes` is what had been stored until then."""

    due: float
    successes: int
    pause_s: float = _FIRST_PAUSE_S


@dataclass(slots=True)
class _Apart:
    """A writer that is read apart from the others."""

    limit: int = 1
    start: str = ""
    """Nothing of it lies before this entry."""
    look_at: float = 0.0
    held: dict[str, _Held] = field(default_factory=dict)


class Quarantine:
    """Chooses what is read, and judges what fails."""

    def __init__(
        self,
        records: Records,
        dead_letters: Undertaker,
        *,
        max_deliveries: int,
        quiet_s: float = _QUIET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._dead_letters = dead_letters
        self._max_deliveries = max_deliveries
        self._quiet_s = quiet_s
        self._clock = clock
        self._known: dict[int, ShardRecord] = {}
        self._limits: dict[int, int] = {}
        self._counted: set[int] = set()
        self._begun: set[bytes] = set()
        self._apart: dict[tuple[int, str], _Apart] = {}
        self._turn = 0
        self._successes = 0
        self._quiet_since = clock()

    # -- shards come and go

    @property
    def shards(self) -> set[int]:
        """Those that were gained and not lost."""
        return set(self._known)

    async def gained(self, shard: int, *, is_suspect: bool) -> None:
        """A shard is ours now; `is_suspect` if its last owner died without having stored anything."""
        known = await self._records.load(shard)
        if known.parked:
            await self._records.probe(shard, known.parked)
        for writer in known.parked:
            self._apart.setdefault((shard, writer), _Apart())
        # What may end this process again waits until something else could be stored.
        now = self._clock()
        for tried in known.tried:
            due = now + min(_LONGEST_PEACE_S, _FIRST_PEACE_S * 2 ** (tried.tries - 1))
            apart = self._apart.setdefault((shard, tried.writer), _Apart(look_at=due))
            apart.held[tried.id] = _Held(due, self._successes)
        if is_suspect or known.was_begun:
            self._limits[shard] = 1
            self._counted.add(shard)
        self._known[shard] = known
        self._quiet_since = now
        self._turn = 0

    def lost(self, shard: int) -> None:
        """The shard is another worker's, or nobody's."""
        self._known.pop(shard, None)
        self._limits.pop(shard, None)
        self._counted.discard(shard)
        for name in [name for name in self._apart if name[0] == shard]:
            del self._apart[name]

    # -- what is read

    @property
    def is_narrowing(self) -> bool:
        """Whether something is being looked for: then nothing is gathered."""
        return bool(self._limits)

    def next_read(self, owned: Iterable[int]) -> Read:
        """By turns: all shards in which nothing is wrong and each other one by itself; and, every other
        time, a writer that is read apart or a batch that failed."""
        shards, now = sorted(owned), self._clock()
        whole = [shard for shard in shards if shard not in self._limits]
        reads = [Read(whole)] if whole else []
        reads += [self._part(shard, limit) for shard, limit in self._limits.items()]
        apart = list(islice(self._apart.items(), _APART_AT_ONCE))
        others = [
            self._part(shard, each.limit, writer)
            for (shard, writer), each in apart
            if each.look_at <= now and len(each.held) < _HELD_PER_WRITER
        ]
        others += [
            self._part(shard, 1, writer, entry_id)
            for (shard, writer), each in apart
            for entry_id, held in each.held.items()
            if held.due <= now
        ]
        turn, is_other = divmod(self._turn, 2)
        self._turn += 1
        if others and (is_other or not reads):
            return others[turn % len(others)]
        return reads[turn % len(reads)] if reads else Read([])

    def _part(self, shard: int, limit: int, writer: str = "", entry_id: str = "") -> Read:
        is_counted = bool(writer) or shard in self._counted
        return Read([shard], limit, writer, entry_id, is_counted)

    def passed_over(self, shard: int, writer: str = "") -> frozenset[str]:
        """What a read leaves out: writers that are read apart, or a writer's batches that failed."""
        if writer:
            return frozenset(self._apart[shard, writer].held)
        return frozenset(name for at, name in self._apart if at == shard)

    def start_of(self, shard: int, writer: str) -> str:
        """From where on this writer, which is read apart, has entries; '' if that is not known."""
        return self._apart[shard, writer].start

    def found_nothing(self, read: Read) -> None:
        """There is nothing left to read there."""
        shard = next(iter(read.shards), -1)
        apart = self._apart.get((shard, read.writer))
        if read.entry_id and apart:
            apart.held.pop(read.entry_id, None)
        elif apart and apart.held:
            apart.look_at = self._clock() + _LOOK_EVERY_S
        elif apart:
            del self._apart[shard, read.writer]
        elif read.is_apart:
            self._limits.pop(shard, None)
        self._trust(shard)

    def _trust(self, shard: int) -> None:
        """Stop counting tries beforehand, unless something is still suspected."""
        if shard not in self._limits and not any(at == shard for at, _ in self._apart):
            self._counted.discard(shard)

    # -- what becomes of it

    async def drop(self, entries: Iterable[Entry]) -> None:
        """Free those of them that somebody asked to be dropped."""
        for entry in entries:
            if entry.is_dropped:
                await self._dead_letters.drop(entry)

    async def begin(self, read: Read, entries: Sequence[Entry]) -> Verdict | None:
        """Count a try of each of these before it is made; None if it may be made.

        One that was tried before is looked at alone, and judged if that was too often.
        """
        new = [entry for entry in entries if entry.id not in self._begun]
        counted = dict(zip(new, await self._records.begin(new), strict=True)) if new else {}
        self._begun |= {entry.id for entry in new}
        tries = [counted.get(each) or await self._records.tries(each) for each in entries]
        most = max(each.unended for each in tries)
        if most <= 1 or (len(entries) == 1 and most <= self._max_deliveries):
            return None
        if len(entries) > 1:
            self._narrow(read, entries, 1)
            return Verdict.NARROWED
        reason = f"its worker died or hung {most - 1} times"
        return await self._judge(entries[0], tries[0].total, reason)

    async def failed(self, read: Read, entries: Sequence[Entry], error: BaseException) -> Verdict:
        """These could not be processed together."""
        if len(entries) > 1:
            self._narrow(read, entries, max(1, len(entries) // _STEP))
            return Verdict.NARROWED
        (entry,) = entries
        tries = await self._records.fail(entry, was_begun=entry.id in self._begun)
        self._begun.discard(entry.id)
        _LOG.warning(
            "batch_failed shard=%d seq=%d failures=%d error=%s",
            entry.shard, entry.seq, tries, type(error).__name__, exc_info=error,
        )  # fmt: skip
        return await self._judge(entry, tries, f"{type(error).__name__}: {error}")

    def _narrow(self, read: Read, entries: Sequence[Entry], limit: int) -> None:
        """Read at most `limit` entries at once of these shards; if there are several, each alone first."""
        apart = self._apart.get((entries[0].shard, read.writer))
        if apart is not None:
            apart.limit = limit
            return
        counts = Counter(entry.shard for entry in entries)
        for shard, count in counts.items():
            known = self._limits.get(shard, count)
            self._limits[shard] = min(known, count) if len(counts) > 1 else limit

    async def _judge(self, entry: Entry, tries: int, reason: str) -> Verdict:
        shard, writer, entry_id = entry.shard, entry.writer, entry.id.decode()
        known = self._known.setdefault(shard, ShardRecord())
        apart = self._apart.setdefault((shard, writer), _Apart(start=entry_id))
        apart.limit = 1
        held = apart.held.setdefault(entry_id, _Held(0.0, self._successes))
        held.due = self._clock() + held.pause_s
        held.pause_s = min(_LONGEST_PAUSE_S, 2 * held.pause_s)
        if known.letters_in_row.get(writer, 0) >= _LETTERS_TO_PARK:
            await self._park(shard, writer, reason, entry_id)
            return Verdict.PARKED
        await self._note_failing(shard, writer.rpartition("/")[0])
        if tries < self._max_deliveries:
            return Verdict.AGAIN
        if self._is_worker_in_doubt(held):
            is_long = self._clock() - self._quiet_since >= self._quiet_s
            return Verdict.WORKER_AT_FAULT if is_long else Verdict.AGAIN
        await self._dead_letters.set_aside(entry, reason)
        del apart.held[entry_id]
        self._begun.discard(entry.id)
        letters = await self._records.note_letter(shard, writer)
        known.letters_in_row[writer] = letters
        if letters >= _LETTERS_TO_PARK:
            await self._park(shard, writer, reason)
        return Verdict.DEAD

    async def _note_failing(self, shard: int, run: str) -> None:
        failing = self._known[shard].failing
        if run not in failing:
            failing.add(run)
            await self._records.note_failing(shard, run)

    def _is_worker_in_doubt(self, held: _Held) -> bool:
        runs = {run for known in self._known.values() for run in known.failing}
        return len(runs) >= _RUNS_TO_DOUBT and held.successes == self._successes

    async def _park(self, shard: int, writer: str, reason: str, *first: str) -> None:
        """Move everything of this writer out of the way, these entries first."""
        await self._records.park(shard, writer, reason, first)
        _LOG.error("writer_parked shard=%d writer=%s reason=%s", shard, writer, reason[:200])
        self._known[shard].parked.add(writer)
        self._apart.pop((shard, writer), None)
        self._begun -= {entry_id.encode() for entry_id in first}

    async def passed(
        self, read: Read, entries: Sequence[Entry], stored: Iterable[tuple[int, str]]
    ) -> None:
        """These are out of the queue, and something new of the writers `stored` (shard, writer key)
        is in the store."""
        self._begun -= {entry.id for entry in entries}
        self._grow(read, {entry.shard for entry in entries})
        for entry in entries:
            apart = self._apart.get((entry.shard, entry.writer))
            if apart is not None:
                apart.held.pop(entry.id.decode(), None)
        writers = list(stored)
        if not writers:
            return
        self._successes += 1
        self._quiet_since = self._clock()
        failing = [shard for shard, known in self._known.items() if known.failing]
        if failing:
            await self._records.note_success(failing)
            for shard in failing:
                self._known[shard].failing.clear()
        for shard, writer in writers:
            await self._recover(shard, writer)

    async def note_fault(self) -> int:
        """This worker is about to end, since it is at fault; how often in a row that was so."""
        return await self._records.note_fault()

    async def _recover(self, shard: int, writer: str) -> None:
        known = self._known.get(shard)
        if known is None:
            return
        if writer in known.letters_in_row:
            await self._records.forget_letters(shard, writer)
            known.letters_in_row.pop(writer, None)
        if writer in known.parked:
            await self._records.unpark(shard, writer)
            known.parked.discard(writer)
            _LOG.info("writer_back shard=%d writer=%s", shard, writer)

    def _grow(self, read: Read, shards: Iterable[int]) -> None:
        """What went well is read in larger parts."""
        if read.writer:
            apart = self._apart.get((read.shards[0], read.writer))
            if apart is not None and not read.entry_id:
                apart.limit = min(_ENOUGH, apart.limit * _STEP)
            return
        for shard in shards:
            limit = self._limits.get(shard)
            if limit is not None and limit * _STEP >= _ENOUGH:
                del self._limits[shard]
                self._trust(shard)
            elif limit is not None:
                self._limits[shard] = limit * _STEP
