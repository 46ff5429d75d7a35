"""Quarantine: isolates poison batches, retries them, and decides which become dead letters.

Chooses which entries are read next, and what happens to those that fail. Its invariants:

- Nothing is lost: an entry leaves its stream as stored, as a dead letter, or parked.
- A failing batch is searched for shard by shard, since a failure, or a crash of the process, may not
  name its writer. Verdicts are about one batch or one writer. No shard is ever stopped.
- Once a batch has failed alone, its writer is isolated: it is read apart, and all other writers go
  on. So do the writer's other batches, as long as only a few of them are held back. It stays isolated
  until nothing of it has failed for a while, so that its next bad batch need not be searched for.
- A batch becomes a dead letter after `max_deliveries` tries; a writer with three dead letters in a
  row is parked, and is parked again at its next failure until a batch of it is stored.
- Failures in three or more runs, with nothing stored since the first of them, mean that the worker
  is at fault: then there are no dead letters, and no writer is parked. A batch is judged only after
  everything else has had its turn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from itertools import islice

from penstock_common.queue.entries import Entry
from penstock_workers.quarantine.isolated_writer import HeldBatch, IsolatedWriter
from penstock_workers.quarantine.quarantine_contracts import DeadLetterSink, Records
from penstock_workers.quarantine.quarantine_records import ShardRecord
from penstock_workers.shards.fair_turns import FairTurns
from penstock_workers.shards.queue import Selection
from penstock_workers.shards.read_limits import STEP, ReadLimits
from penstock_workers.shards.reads import NO_LIMIT, Read, next_of

__all__ = ["Quarantine", "Verdict"]

_LOG = logging.getLogger(__name__)

_DEAD_LETTERS_TO_PARK = 3
_MIN_FAILING_RUNS = 3
_MAX_HELD_PER_WRITER = 3
_MAX_ISOLATED = 256
_LOOK_EVERY_S = 0.2
_PROBATION_S = 60.0
"""How long nothing of a writer must have failed before it is read with the others again."""
_QUIET_S = 5.0
"""How long nothing must have been stored before the worker considers itself at fault."""


class Verdict(Enum):
    """What happens to entries that could not be processed."""

    NARROWED = "narrowed"
    """Read again, fewer at a time."""
    AGAIN = "again"
    DEAD = "dead"
    PARKED = "parked"
    WORKER_AT_FAULT = "worker at fault"


class Quarantine:
    """Chooses what is read next, and decides what happens to batches that fail."""

    def __init__(
        self,
        records: Records,
        dead_letters: DeadLetterSink,
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
        self._limits = ReadLimits()
        self._crashed: set[int] = set()
        self._is_explained = False
        self._was_read_with = 0
        self._begun: set[bytes] = set()
        self._isolated: dict[tuple[int, str], IsolatedWriter] = {}
        self._turns = FairTurns[tuple[object, ...]]()
        self._others_turns = FairTurns[tuple[object, ...]]()
        self._is_others_turn = True
        self._successes = 0
        self._quiet_since = clock()

    # -- shards come and go

    @property
    def shards(self) -> set[int]:
        """The shards that were gained and not lost."""
        return set(self._known)

    async def hold(self, owned: Collection[int], owner_crashed: Collection[int]) -> None:
        """These shards are ours now. The last owner of the `owner_crashed` among them died before it stored
        anything."""
        for shard in self.shards.difference(owned):
            self._lost(shard)
        for shard in sorted(set(owned) - self.shards):
            await self._gained(shard, owner_crashed=shard in owner_crashed)

    async def _gained(self, shard: int, *, owner_crashed: bool) -> None:
        """If one entry is known to have crashed the last owner, that says nothing about the other shards."""
        if owner_crashed:
            _LOG.warning("shard_owner_crashed shard=%d", shard)
        known = await self._records.load(shard)
        if known.parked:
            await self._records.probe(shard, known.parked)
        for writer in known.parked:
            self._isolated.setdefault((shard, writer), IsolatedWriter())
        # A batch that may crash this process again waits until something else could be stored.
        now = self._clock()
        for tried in known.tried:
            held = HeldBatch.of_last_worker(now, self._successes, tried.tries)
            isolated = self._isolated.setdefault(
                (shard, tried.writer), IsolatedWriter(look_at=held.due)
            )
            isolated.held[tried.id] = held
        if known.was_begun:
            self._limits.search([shard])
        elif owner_crashed:
            self._crashed.add(shard)
        self._is_explained |= known.is_explained
        self._was_read_with = max(self._was_read_with, known.was_read_with)
        self._known[shard] = known
        self._quiet_since = now
        self._is_others_turn = True

    def _after_crash(self) -> None:
        """All shards of a crashed owner are ours: search them, unless the flight recorder named an entry. That
        entry may be innocent, if the process died of the size of its read: then less is read at once."""
        if self._crashed and not self._is_explained:
            self._limits.search(self._crashed)
        elif self._was_read_with:
            self._limits.after_death(self._crashed, self._was_read_with)
        self._crashed.clear()
        self._is_explained, self._was_read_with = False, 0

    def _lost(self, shard: int) -> None:
        self._known.pop(shard, None)
        self._crashed.discard(shard)
        self._limits.forget(shard)
        for name in [name for name in self._isolated if name[0] == shard]:
            del self._isolated[name]

    # -- what is read

    @property
    def is_narrowing(self) -> bool:
        """Whether a failing batch is being searched for: then commits do not wait to gather more."""
        return bool(self._limits)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is searched for, and no writer is isolated."""
        return not self._limits and not self._isolated

    def next_read(self, owned: Iterable[int]) -> Read:
        """In turn: all healthy shards together, then those in small parts of one size together; every other
        time, an isolated writer or a batch that failed."""
        self._after_crash()
        reads, now = self._limits.reads(sorted(owned)), self._clock()
        isolated = list(islice(self._isolated.items(), _MAX_ISOLATED))
        others = [
            Read([shard], each.limit, writer, is_counted=True)
            for (shard, writer), each in isolated
            if each.look_at <= now and len(each.held) < _MAX_HELD_PER_WRITER
        ]
        others += [
            Read([shard], 1, writer, entry_id, is_counted=True)
            for (shard, writer), each in isolated
            for entry_id in each.due(now, is_searching=self.is_narrowing)
        ]
        self._is_others_turn = bool(others) and (not self._is_others_turn or not reads)
        if self._is_others_turn:
            return next_of(others, self._others_turns)
        return next_of(reads, self._turns) if reads else Read([])

    def selections(self, read: Read) -> list[Selection]:
        """What this read takes of each of its shards: all but the isolated writers, or of one of these all but
        the batches that are held back."""
        return [self._selection(shard, read.writer) for shard in read.shards]

    def _selection(self, shard: int, writer: str) -> Selection:
        if writer:
            isolated = self._isolated[shard, writer]
            return Selection(shard, writer, isolated.start, frozenset(isolated.held))
        return Selection(
            shard, passed=frozenset(name for at, name in self._isolated if at == shard)
        )

    def found_nothing(self, read: Read) -> None:
        """This read found no entries."""
        shard = next(iter(read.shards), -1)
        isolated = self._isolated.get((shard, read.writer))
        if read.entry_id and isolated:
            isolated.held.pop(read.entry_id, None)
        elif isolated and isolated.held:
            isolated.look_at = self._clock() + _LOOK_EVERY_S
        elif isolated and isolated.failed_at + _PROBATION_S > self._clock():
            # However many are on probation, looking for their batches costs the others no more.
            isolated.look_at = self._clock() + _LOOK_EVERY_S * len(self._isolated)
        elif isolated:
            del self._isolated[shard, read.writer]
        elif read.is_isolated:
            self._limits.lift(read.shards)
        self._stop_counting(read.shards)

    def _stop_counting(self, shards: Iterable[int]) -> None:
        """Stop counting tries in advance, except in shards of which a batch may still be poison."""
        self._limits.stop_counting(set(shards) - {at for at, _ in self._isolated})

    # -- what happens to it

    async def drop(self, entries: Iterable[Entry]) -> None:
        """Delete the entries that an operator asked to drop."""
        for entry in entries:
            if entry.is_dropped:
                await self._dead_letters.drop(entry)

    async def begin(self, read: Read, entries: Sequence[Entry]) -> Verdict | None:
        """Count a try of each of these before it is made; None if it may be made.

        What was tried once, perhaps with hundreds of others, is read with few; what was tried more often
        is read alone, and judged after too many tries.
        """
        new = [entry for entry in entries if entry.id not in self._begun]
        tries = await self._records.tries(new)
        limit = min((each.most_at_once for each in tries), default=NO_LIMIT)
        self._limits.begins(read, limit)
        if len(entries) > limit:
            self._narrow(read, entries, limit)
            return Verdict.NARROWED
        self._begun |= {entry.id for entry in new}
        if new:
            await self._records.begin(new, is_searching=self.is_narrowing)
        if len(entries) > 1:
            return None
        (own,) = await self._records.tries(entries)
        if own.unended <= self._max_deliveries:
            return None
        reason = f"its worker died or hung {own.unended - 1} times"
        return await self._judge(entries[0], own.total, reason, entries[0])

    async def failed(
        self, read: Read, entries: Sequence[Entry], error: BaseException, to_blame: Entry | None
    ) -> Verdict:
        """These entries could not be processed together, because of `to_blame`, if that is known."""
        if len(entries) > 1:
            # Others among them may be bad too: then this stores most of the good ones in between.
            self._narrow(read, entries, max(1, len(entries) // STEP))
        entry = entries[0] if len(entries) == 1 else to_blame
        if entry is None:
            return Verdict.NARROWED
        tries = await self._records.fail(entry, was_begun=entry.id in self._begun)
        self._begun.discard(entry.id)
        _LOG.warning(
            "batch_failed shard=%d seq=%d failures=%d error=%s",
            entry.shard, entry.seq, tries, type(error).__name__, exc_info=error,
        )  # fmt: skip
        # Batches of its writer may lie before it.
        writer = (entry.shard, entry.writer)
        first = next(each for each in entries if (each.shard, each.writer) == writer)
        return await self._judge(entry, tries, f"{type(error).__name__}: {error}", first)

    def _narrow(self, read: Read, entries: Sequence[Entry], limit: int) -> None:
        """Read at most `limit` entries of these shards, or of this writer, at once."""
        isolated = self._isolated.get((entries[0].shard, read.writer))
        if isolated is not None:
            isolated.limit = limit
        else:
            self._limits.narrow(entries, limit)

    async def _judge(self, entry: Entry, tries: int, reason: str, first: Entry) -> Verdict:
        """`first`: the first entry of its writer that is still queued."""
        shard, writer, entry_id = entry.shard, entry.writer, entry.id.decode()
        record = self._known.setdefault(shard, ShardRecord())
        isolated = self._isolated.setdefault(
            (shard, writer), IsolatedWriter(start=first.id.decode())
        )
        isolated.limit, isolated.failed_at = 1, self._clock()
        held = isolated.held.setdefault(entry_id, HeldBatch(0.0, self._successes))
        held.fail(self._clock())
        if record.dead_letters_in_row.get(writer, 0) >= _DEAD_LETTERS_TO_PARK:
            await self._park(shard, writer, reason, entry_id)
            return Verdict.PARKED
        await self._note_failing(shard, writer.rpartition("/")[0])
        if tries < self._max_deliveries:
            return Verdict.AGAIN
        if self._is_worker_at_fault(held):
            is_long = self._clock() - self._quiet_since >= self._quiet_s
            return Verdict.WORKER_AT_FAULT if is_long else Verdict.AGAIN
        await self._dead_letters.dead_letter(entry, reason)
        del isolated.held[entry_id]
        self._begun.discard(entry.id)
        letters = await self._records.note_dead_letter(shard, writer)
        record.dead_letters_in_row[writer] = letters
        if letters >= _DEAD_LETTERS_TO_PARK:
            await self._park(shard, writer, reason)
        return Verdict.DEAD

    async def _note_failing(self, shard: int, run: str) -> None:
        failing = self._known[shard].failing
        if run not in failing:
            failing.add(run)
            await self._records.note_failing(shard, run)

    def _is_worker_at_fault(self, held: HeldBatch) -> bool:
        runs = {run for known in self._known.values() for run in known.failing}
        return len(runs) >= _MIN_FAILING_RUNS and held.successes == self._successes

    async def _park(self, shard: int, writer: str, reason: str, *first: str) -> None:
        """Park all batches of this writer, these entries first."""
        await self._records.park(shard, writer, reason, first)
        _LOG.error("writer_parked shard=%d writer=%s reason=%s", shard, writer, reason[:200])
        self._known[shard].parked.add(writer)
        self._isolated.pop((shard, writer), None)
        self._begun -= {entry_id.encode() for entry_id in first}

    async def passed(
        self, read: Read, entries: Sequence[Entry], stored: Iterable[tuple[int, str]]
    ) -> None:
        """These entries are out of the queue, and new batches of the writers `stored` (shard, writer key)
        are in the store."""
        self._begun -= {entry.id for entry in entries}
        self._grow(read, len(entries))
        for entry in entries:
            isolated = self._isolated.get((entry.shard, entry.writer))
            if isolated is not None:
                isolated.held.pop(entry.id.decode(), None)
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
        """This worker is at fault and about to exit; returns how often in a row that happened."""
        return await self._records.note_fault()

    async def _recover(self, shard: int, writer: str) -> None:
        known = self._known.get(shard)
        if known is None:
            return
        if writer in known.dead_letters_in_row:
            await self._records.forget_dead_letters(shard, writer)
            known.dead_letters_in_row.pop(writer, None)
        if writer in known.parked:
            await self._records.unpark(shard, writer)
            known.parked.discard(writer)
            _LOG.info("writer_back shard=%d writer=%s", shard, writer)

    def _grow(self, read: Read, entries: int) -> None:
        """After a success, read more at a time."""
        most = self._limits.passed(read, entries)
        isolated = self._isolated.get((read.shards[0], read.writer)) if read.shards else None
        if isolated is not None and not read.entry_id:
            isolated.limit = min(most, STEP * isolated.limit)
        elif not read.writer:
            self._stop_counting(read.shards)
