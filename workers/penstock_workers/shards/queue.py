"""The worker's side of the queue: reading entries that are not committed, and acknowledging them.

There are no consumer groups and no stored offsets: a stream holds what is not yet committed, and the
shard's one owner reads it from the start. A read is bounded by the cost of decoding it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from redis.asyncio import Redis

from penstock_common.queue.entries import Entry, decode
from penstock_common.queue.redis_keys import RedisKeys
from penstock_common.queue.scripts import COMMIT, READ

__all__ = [
    "CONFLICT",
    "NO_ROOM",
    "Acknowledgement",
    "Budget",
    "CommittedPosition",
    "Queue",
    "Selection",
]

_MAX_ENTRIES = 4_096
_MIN_WAIT_S = 0.01

CONFLICT = "conflict"
"""The reason of a dead letter whose number was stored with another content."""
NO_ROOM = "no room:"
"""The start of the reason of a dead letter that would exceed a bound on runs or writers."""


class Budget(NamedTuple):
    """How much may be read at once."""

    entries: int
    bytes: int
    decoded: int
    elements: int

    def less(self, entry: Entry) -> Budget:
        """What is left after this entry."""
        return Budget(
            self.entries - 1,
            self.bytes - len(entry.raw),
            self.decoded - entry.decoded,
            self.elements - entry.elements,
        )

    def share(self, parts: int) -> Budget:
        entries, *rest = self
        return Budget(min(_MAX_ENTRIES, max(1, entries)), *(max(0, each // parts) for each in rest))

    @property
    def is_spent(self) -> bool:
        return min(self) <= 0


@dataclass(frozen=True, slots=True)
class Selection:
    """What to read of a shard: `only` this writer if given, from the entry `start` if known, without
    what is `passed` over: writers, and ids of entries."""

    shard: int
    only: str = ""
    start: str = ""
    passed: frozenset[str] = frozenset()


@dataclass(slots=True)
class CommittedPosition:
    """A writer's position (offset) after a commit, with the `digests` of its batches in this commit.
    `low` is None if the store does not know the writer."""

    low: int | None = 0
    dead: tuple[int, ...] = ()
    digests: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Acknowledgement:
    """What a commit tells one shard's queue: new positions, entries to delete, dead letters."""

    positions: dict[str, CommittedPosition] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    dead: list[tuple[Entry, str]] = field(default_factory=list)


class Queue:
    """Reads the streams of the given shards, each from where the last read stopped."""

    def __init__(self, redis: Redis, keys: RedisKeys) -> None:
        self._redis = redis
        self._keys = keys
        self._cursor: dict[tuple[int, str], str] = {}
        self._turn = 0
        self.store: str | None = None
        """The store's id as last read: never older than the entries that were read with it."""
        self.is_watched = False
        """Whether somebody reads what runs log, as of the last read."""
        self.has_more = False
        """Whether the last read left entries behind for lack of budget."""
        self._commit, self._read = (
            hashlib.sha1(script.encode()).hexdigest()  # noqa: S324
            for script in (COMMIT, READ)
        )

    def rewind(self, shard: int) -> None:
        """Read this shard from its start again."""
        for place in [place for place in self._cursor if place[0] == shard]:
            del self._cursor[place]

    async def wait(self, shards: Iterable[int], timeout_s: float) -> bool:
        """Wait until somebody wants a commit of one of these shards; False if nobody did."""
        bells = [self._keys.bell(shard) for shard in shards]
        if not bells:
            await asyncio.sleep(timeout_s)
            return False
        # 0 would mean for ever.
        return bool(await self._redis.blpop(bells, max(timeout_s, _MIN_WAIT_S)))

    async def read(self, selections: Sequence[Selection], budget: Budget) -> list[Entry]:
        """Entries after the cursors, as many as the budget allows; if none fits, one of any size."""
        entries: list[Entry] = []
        # Each selection in turn comes first, even with an entry larger than its share.
        self._turn += 1
        at = self._turn % max(1, len(selections))
        waiting = [*selections[at:], *selections[:at]]
        is_shared = True
        while waiting and not budget.is_spent:
            asked = waiting if is_shared else waiting[:1]
            first = None if entries else waiting[0]
            found = await self._read_each(asked, first, budget.share(len(asked)))
            count = len(entries)
            budget, more = self._take(found, budget, entries)
            waiting = [*more, *waiting[len(asked) :]]
            if count == len(entries) and not is_shared:
                break
            # Once a share has no room for another entry, each selection in turn gets all that is left.
            is_shared = is_shared and count < len(entries)
        self.has_more = bool(waiting)
        return entries

    async def fetch(self, shard: int, entry_id: str) -> list[Entry]:
        """This entry, if it is still there."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            stream = self._keys.stream(shard)
            pipeline.execute_command("XRANGE", stream, entry_id, entry_id)
            pipeline.execute_command("GET", self._keys.store())
            found, store = await pipeline.execute()
        self.store = store.decode() if store is not None else None
        return [decode(shard, each, fields) for each, fields in found]

    def _take(
        self, found: list[_Part], budget: Budget, entries: list[Entry]
    ) -> tuple[Budget, list[Selection]]:
        """Add what fits to `entries`; returns the rest of the budget, and the selections that may have
        more. Entries whose size the queue did not know have been measured by now."""
        more: list[Selection] = []
        for selection, part, last, has_more in found:
            place = (selection.shard, selection.only)
            for entry in part:
                left = budget.less(entry)
                if entries and min(left) < 0:
                    more.append(selection)
                    break
                entries.append(entry)
                budget, self._cursor[place] = left, entry.id.decode()
            else:
                if last is not None:
                    self._cursor[place] = last
                if has_more:
                    more.append(selection)
        return budget, more

    async def _read_each(
        self, selections: Sequence[Selection], first: Selection | None, budget: Budget
    ) -> list[_Part]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            # A Redis that was restarted has forgotten the script.
            pipeline.execute_command("SCRIPT LOAD", READ)
            # Before the entries: a bell that rings from now on is for later ones.
            pipeline.execute_command("DEL", *(self._keys.bell(each.shard) for each in selections))
            pipeline.execute_command("EXISTS", self._keys.watched())
            for each in selections:
                cursor = self._cursor.get((each.shard, each.only))
                start = f"({cursor}" if cursor else each.start or "-"
                pipeline.execute_command(
                    "EVALSHA", self._read, 1, self._keys.stream(each.shard),
                    start, int(each is first), *budget, each.only, *each.passed,
                )  # fmt: skip
            # After them: what clients send again for a new store is never read before its id is.
            pipeline.execute_command("GET", self._keys.store())
            _, _, watched, *replies, store = await pipeline.execute()
        self.is_watched = bool(watched)
        self.store = store.decode() if store is not None else None
        return [
            _Part(
                each,
                [decode(each.shard, entry_id, _fields(fields)) for entry_id, fields in entries],
                last.decode() if last is not None else None,
                bool(more),
            )
            for each, (entries, last, more) in zip(selections, replies, strict=True)
        ]

    async def acknowledge(self, shards: Mapping[int, tuple[str, Acknowledgement]]) -> set[int]:
        """Publish positions and delete entries, each shard in one step, all in one round trip.

        `shards` maps each shard to its owner and acknowledgement; returns the shards that another
        worker owns by now.
        """
        async with self._redis.pipeline(transaction=False) as pipeline:
            # A Redis that was restarted has forgotten the script.
            pipeline.execute_command("SCRIPT LOAD", COMMIT)
            for shard, (owner, acknowledgement) in shards.items():
                names = self._acknowledged_keys(shard)
                pipeline.execute_command(
                    "EVALSHA", self._commit, len(names), *names, *_arguments(owner, acknowledgement)
                )
            _, *replies = await pipeline.execute()
        return {shard for shard, reply in zip(shards, replies, strict=True) if not reply}

    def _acknowledged_keys(self, shard: int) -> tuple[str, ...]:
        keys = self._keys
        return (
            keys.lease(shard),
            keys.stream(shard),
            keys.pending(shard),
            keys.committed(shard),
            keys.failures(shard),
            keys.dead(shard),
            keys.digests(shard),
            keys.dead_seqs(shard),
            keys.tried(shard),
        )

    async def dead_numbers(self, writers: Sequence[tuple[int, str]]) -> list[list[int]]:
        """The dead numbers of each of these writers (shard, writer key), as the queue knows them."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for shard, writer in writers:
                pipeline.execute_command("HGET", self._keys.dead_seqs(shard), writer)
            found = await pipeline.execute()
        return [[int(each) for each in text.split(b",") if each] if text else [] for text in found]


class _Part(NamedTuple):
    """The entries that one selection found; `last` is the last one read or passed over."""

    selection: Selection
    entries: list[Entry]
    last: str | None
    has_more: bool


def _fields(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _arguments(owner: str, acknowledgement: Acknowledgement) -> list[str | bytes | int]:
    arguments: list[str | bytes | int] = [owner, len(acknowledgement.positions)]
    for writer, position in acknowledgement.positions.items():
        dead = ",".join(map(str, position.dead))
        digests = ";".join(f"{seq}={digest:016x}" for seq, digest in position.digests.items())
        arguments += (writer, "" if position.low is None else position.low, dead, digests)
    arguments.append(len(acknowledgement.entries))
    for entry in acknowledgement.entries:
        arguments += (entry.id, f"{entry.seq}/{entry.writer}")
    arguments.append(len(acknowledgement.dead))
    for entry, reason in acknowledgement.dead:
        arguments += (entry.id, reason)
    return arguments
