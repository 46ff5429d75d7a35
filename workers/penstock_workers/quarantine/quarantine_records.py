"""The quarantine's records in Redis: failures, retries, parked writers. They outlive a worker that a
batch may have crashed."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from redis.asyncio import Redis

from penstock_common.queue.entries import Entry, writer_of
from penstock_common.queue.problem_list import Problems
from penstock_common.queue.redis_keys import RedisKeys
from penstock_common.queue.scripts import PARK, UNPARK
from penstock_workers.shards.flight_recorder import Death
from penstock_workers.shards.leases import Leases
from penstock_workers.shards.reads import NO_LIMIT

__all__ = ["QuarantineRecords", "ShardRecord", "TriedEntry", "Tries"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

_ENTRIES_PER_SCRIPT = 100
_UNENDED = 1_000_000
"""Unfinished tries are counted in millions, in the same field of the hash."""

_FEW = 4
_SCAN = 5_000
_MAX_FAILING_RUNS = 100
_MAX_REASON_CHARS = 500
_FAULTS_FORGOTTEN_S = 600
_FAULT_SHOWN_S = 60.0


class Tries(NamedTuple):
    """How often an entry was tried, and how many tries never ended, since the worker died or hung."""

    total: int
    unended: int

    @property
    def most_at_once(self) -> int:
        """How many entries may be tried together if this is one of them: few after one try, which may have
        been that of hundreds."""
        if self.unended > 1:
            return 1
        return _FEW if self.unended else NO_LIMIT


@dataclass(frozen=True, slots=True)
class TriedEntry:
    """An entry that was tried and is still queued."""

    id: str
    writer: str
    tries: int


@dataclass(slots=True)
class ShardRecord:
    """What earlier owners of a shard recorded: see `RedisKeys`."""

    tried: list[TriedEntry] = field(default_factory=list)
    was_begun: bool = False
    """Other entries were tried once, perhaps many together, and the try never ended."""
    is_explained: bool = False
    """The last worker died of one entry of `tried`, and was not searching for others."""
    was_read_with: int = 0
    """How many entries it had read together with that one."""
    dead_letters_in_row: dict[str, int] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    parked: set[str] = field(default_factory=set)


class QuarantineRecords:
    """Reads and writes them. Parking a writer needs the shard's lease."""

    def __init__(self, redis: Redis, keys: RedisKeys, leases: Leases, problems: Problems) -> None:
        self._redis = redis
        self._keys = keys
        self._leases = leases
        self._problems = problems
        self._park = redis.register_script(PARK)
        self._unpark = redis.register_script(UNPARK)

    async def load(self, shard: int) -> ShardRecord:
        """The record of a shard that was just taken over."""
        keys = self._keys
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("DEL", *keys.obsolete(shard))
            pipeline.execute_command("HGETALL", keys.failures(shard))
            pipeline.execute_command("HGETALL", keys.dead_letters_in_row(shard))
            pipeline.execute_command("SMEMBERS", keys.failing(shard))
            pipeline.execute_command("HKEYS", keys.parked_bytes(shard))
            # It says why this worker's predecessor died, and nothing about its own death.
            pipeline.execute_command("GETDEL", keys.alone(shard))
            _, failures, letters, failing, parked, alone = await pipeline.execute()
        blamed, _, how = (alone or b"").partition(b" ")
        was_read_with = int(how) if how.isdigit() else 0
        is_known = _tries(int(failures.get(blamed, 0))).unended > 0
        if is_known and _tries(int(failures[blamed])).total == 1:
            # One try may have been that of a whole commit, but not this one.
            failures[blamed] = await self._redis.hincrby(keys.failures(shard), blamed, 1)
        again = {
            each.decode(): tries.total
            for each, value in failures.items()
            if (tries := _tries(int(value))).total > 1
        }
        return ShardRecord(
            [each async for each in self._tried(shard, again)],
            len(again) < len(failures),
            is_known and how != b"searching",
            was_read_with,
            {writer.decode(): int(count) for writer, count in letters.items()},
            {run.decode() for run in failing},
            {writer.decode() for writer in parked if writer},
        )

    async def _tried(self, shard: int, tries: dict[str, int]) -> AsyncIterator[TriedEntry]:
        for entry_id, count in tries.items():
            found: Any = await self._redis.xrange(self._keys.stream(shard), entry_id, entry_id)
            for _, fields in found:
                yield TriedEntry(entry_id, writer_of(fields), count)

    async def begin(self, entries: Sequence[Entry], *, is_searching: bool) -> None:
        """Count one more try of each of these entries, not ended yet. `is_searching`: there may be others
        that end the worker."""
        if len(entries) == 1:  # should the worker die now, it is to blame
            alone = entries[0].id + (b" searching" if is_searching else b"")
            await self._redis.set(self._keys.alone(entries[0].shard), alone)
        await self._count(entries, 1 + _UNENDED)

    async def blame(self, death: Death) -> None:
        """A worker died while it worked on this entry, perhaps in the middle of many. It counts as tried
        alone, and the others as not tried; nothing changes if it is no longer queued."""
        keys, shard, entry_id = self._keys, death.shard, death.entry_id
        if not await self._redis.xrange(keys.stream(shard), entry_id, entry_id):
            return
        if not _tries(int(await self._redis.hget(keys.failures(shard), entry_id) or 0)).unended:
            await self._redis.hincrby(keys.failures(shard), entry_id, 1 + _UNENDED)
        await self._redis.set(keys.alone(shard), f"{entry_id} {death.entries - 1}")
        for each in death.counted:
            await self._acquit(each, entry_id.encode())
        _LOG.warning("worker_died_of shard=%d entry=%s", shard, entry_id)

    async def _acquit(self, shard: int, guilty: bytes) -> None:
        """Forget the one try of each entry that was begun together with the guilty one."""
        found: Any = await self._redis.hgetall(self._keys.failures(shard))
        once = [each for each, value in found.items() if int(value) == 1 + _UNENDED]
        for part in _parts([each for each in once if each != guilty]):
            await self._redis.hdel(self._keys.failures(shard), *part)

    async def fail(self, entry: Entry, *, was_begun: bool) -> int:
        """A try of this entry failed; returns the number of tries. `was_begun`: it is already counted."""
        if was_begun:
            await self._redis.delete(self._keys.alone(entry.shard))
        (tries,) = await self._count([entry], -_UNENDED if was_begun else 1)
        return tries.total

    async def tries(self, entries: Sequence[Entry]) -> list[Tries]:
        """The tries of each of these entries."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for entry in entries:
                failures = self._keys.failures(entry.shard)
                pipeline.execute_command("HGET", failures, entry.id)
            return [_tries(int(count or 0)) for count in await pipeline.execute()]

    async def _count(self, entries: Sequence[Entry], by: int) -> list[Tries]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for entry in entries:
                failures = self._keys.failures(entry.shard)
                pipeline.execute_command("HINCRBY", failures, entry.id, by)
            return [_tries(int(count)) for count in await pipeline.execute()]

    async def note_failing(self, shard: int, run: str) -> None:
        """A batch of this run failed alone."""
        name = self._keys.failing(shard)
        if await self._redis.scard(name) < _MAX_FAILING_RUNS:
            await self._redis.sadd(name, run)

    async def note_success(self, shards: Iterable[int]) -> None:
        """Something was stored, so it is not the worker that is at fault."""
        for shard in shards:
            await self._redis.delete(self._keys.failing(shard))
        await self._redis.delete(self._keys.worker_faults())
        await self._problems.clear("worker_at_fault")

    async def note_fault(self) -> int:
        """A worker is about to exit because everything it reads fails; returns how often that happened
        lately."""
        text = "Batches of several runs fail, and nothing else could be stored: the worker is at fault."
        await self._problems.tell("worker_at_fault", text, ttl_s=_FAULT_SHOWN_S)
        name = self._keys.worker_faults()
        count = int(await self._redis.incr(name))
        await self._redis.expire(name, _FAULTS_FORGOTTEN_S)
        return count

    async def note_dead_letter(self, shard: int, writer: str) -> int:
        """This writer has one more dead letter; returns how many in a row."""
        name = self._keys.dead_letters_in_row(shard)
        return int(await self._redis.hincrby(name, writer, 1))

    async def forget_dead_letters(self, shard: int, writer: str) -> None:
        """A batch of this writer was stored."""
        await self._redis.hdel(self._keys.dead_letters_in_row(shard), writer)

    async def park(self, shard: int, writer: str, reason: str, first: Sequence[str] = ()) -> None:
        """Park all batches of this writer, starting with the entries `first`.

        From the first step on, new batches of it are parked on arrival; then the older ones follow.
        """
        keys = self._keys
        names = [
            keys.lease(shard), keys.stream(shard), keys.pending(shard), keys.failures(shard),
            keys.parked(shard), keys.parked_bytes(shard), keys.parked_why(shard),
        ]  # fmt: skip
        about: list[str | int] = [
            self._leases.owner(self._leases.epochs.get(shard, 0)),
            writer, time.time_ns() // 1000, reason[:_MAX_REASON_CHARS],
        ]  # fmt: skip
        if not await self._park(names, [*about, *first]):
            return
        queued, _ = await self._places(shard, writer)
        for part in _parts(queued):
            await self._park(names, [*about, *part])

    async def probe(self, shard: int, writers: Collection[str]) -> None:
        """Retry: put the first batch of each of these parked writers back into the stream."""
        first: dict[str, tuple[int, str]] = {}
        async for writer, seq, place in self._pending(shard):
            if writer in writers and place.startswith("p"):
                known = first.get(writer)
                if known is None or seq < known[0]:
                    first[writer] = (seq, place.removeprefix("p"))
        for writer in writers:
            # A writer without batches here is no longer parked: its next batch decides.
            await self._back(shard, writer, [first[writer][1]] if writer in first else [])

    async def unpark(self, shard: int, writer: str) -> None:
        """Put all batches of this writer back into the stream, in the order of their numbers."""
        while True:
            _, parked = await self._places(shard, writer)
            for part in _parts(parked):
                await self._back(shard, writer, part)
            # More may have been parked meanwhile.
            if await self._back(shard, writer, []) or not parked:
                return

    async def _back(self, shard: int, writer: str, ids: Sequence[str]) -> bool:
        keys = self._keys
        names = [
            keys.stream(shard), keys.pending(shard), keys.parked(shard), keys.parked_bytes(shard),
            keys.parked_why(shard),
        ]  # fmt: skip
        return bool(await self._unpark(names, [writer, 0, *ids]))

    async def _places(self, shard: int, writer: str) -> tuple[list[str], list[str]]:
        """The ids of a writer's entries in the stream, and of those that are parked, by number."""
        queued: set[tuple[int, str]] = set()
        parked: set[tuple[int, str]] = set()
        async for whose, seq, place in self._pending(shard, f"*/{_literal(writer)}"):
            if whose == writer:
                found = parked if place.startswith("p") else queued
                found.add((seq, place.removeprefix("p")))
        return [each for _, each in sorted(queued)], [each for _, each in sorted(parked)]

    async def _pending(
        self, shard: int, pattern: str | None = None
    ) -> AsyncIterator[tuple[str, int, str]]:
        """(writer key, number, place) of each queued or parked batch; perhaps more than once."""
        name: Any
        place: Any
        async for name, place in self._redis.hscan_iter(
            self._keys.pending(shard), match=pattern, count=_SCAN
        ):
            seq, _, writer = name.decode().partition("/")
            yield writer, int(seq), place.decode()


def _tries(value: int) -> Tries:
    unended, count = divmod(max(0, value), _UNENDED)
    return Tries(count, unended)


def _literal(text: str) -> str:
    """The text with the characters of Redis patterns escaped."""
    return "".join(f"\\{each}" if each in "\\*?[]^-" else each for each in text)


def _parts(whole: Sequence[T]) -> Iterator[Sequence[T]]:
    return (
        whole[start : start + _ENTRIES_PER_SCRIPT]
        for start in range(0, len(whole), _ENTRIES_PER_SCRIPT)
    )
