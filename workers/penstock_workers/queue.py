"""The worker's side of the queue: reading entries that are not committed, and freeing them.

There are no consumer groups: what is in a stream is what is not yet committed, and a shard has one
owner, who reads it from the start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from penstock_common.keys import Keys
from penstock_common.scripts import COMMIT

__all__ = ["CONFLICT", "NO_ROOM", "Entry", "Queue", "Settled", "WriterMark"]

_MOST_COUNT = 4_096
_ROW, _SHARE, _OF = 20, 50, 1_000
"""A shard is in a storm when so many batches in a row were put aside, or more than that share."""

CONFLICT = "conflict"
"""Why a batch is a dead letter whose number was stored with another content."""
NO_ROOM = "no room:"
"""How the reason begins of a dead letter that would need more runs or writers than there may be."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch as it lies in a stream. `received` is when the gateway had it, in µs."""

    shard: int
    id: bytes
    writer: str
    seq: int
    raw: bytes
    received: int
    is_replay: bool = False
    """A dead letter that is to be tried once more."""


@dataclass(slots=True)
class WriterMark:
    """Where a writer stands after a commit; `digests` are those of its batches in this commit."""

    low: int = 0
    dead: tuple[int, ...] = ()
    digests: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Settled:
    """What a commit says to one shard's queue: new marks, entries to free, dead letters."""

    marks: dict[str, WriterMark] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    dead: list[tuple[Entry, str]] = field(default_factory=list)


class Queue:
    """Reads the streams of the shards given to it, each from where it stopped."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._cursor: dict[int, bytes] = {}
        self._entry_bytes = 65_536.0
        self.store: str | None = None
        """The store's id as last read: never older than the entries that were read with it."""
        self._commit = hashlib.sha1(COMMIT.encode()).hexdigest()  # noqa: S324

    def rewind(self, shard: int) -> None:
        """Read this shard from its start again."""
        self._cursor.pop(shard, None)

    async def read(self, shards: Sequence[int], *, limit_bytes: int, limit: int) -> list[Entry]:
        """Entries behind the cursors, up to about `limit_bytes` and exactly `limit` in all."""
        entries: list[Entry] = []
        size = 0
        waiting = list(shards)
        while waiting and size < limit_bytes and len(entries) < limit:
            share = (limit_bytes - size) / self._entry_bytes / len(waiting)
            count = max(1, min(_MOST_COUNT, round(share), limit - len(entries)))
            found = await self._read_each(waiting, count)
            for shard, taken in found.items():
                taken = taken[: limit - len(entries)]
                if taken:
                    self._cursor[shard] = taken[-1].id
                entries += taken
                size += sum(len(entry.raw) for entry in taken)
            waiting = [shard for shard in waiting if len(found[shard]) == count]
            if entries:
                self._entry_bytes = max(64.0, size / len(entries))
        return entries

    async def _read_each(self, shards: Sequence[int], count: int) -> dict[int, list[Entry]]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for shard in shards:
                cursor = self._cursor.get(shard)
                start = b"(" + cursor if cursor else b"-"
                stream = self._keys.stream(shard)
                pipeline.execute_command("XRANGE", stream, start, "+", "COUNT", count)
            # Behind them: what clients send again to another store is not seen before its id is.
            pipeline.execute_command("GET", self._keys.store())
            *replies, store = await pipeline.execute()
        self.store = store.decode() if store is not None else None
        return {
            shard: [_entry(shard, entry_id, fields) for entry_id, fields in reply]
            for shard, reply in zip(shards, replies, strict=True)
        }

    async def settle(self, shards: Mapping[int, tuple[str, Settled]]) -> set[int]:
        """Publish marks and free entries, each shard in one step, all in one round trip.

        `shards` holds the owner and what is settled; returns those that have another owner now.
        """
        async with self._redis.pipeline(transaction=False) as pipeline:
            # A Redis that was restarted has forgotten the script.
            pipeline.execute_command("SCRIPT LOAD", COMMIT)
            for shard, (owner, settled) in shards.items():
                names = self._settled_keys(shard)
                pipeline.execute_command(
                    "EVALSHA", self._commit, len(names), *names, *_arguments(owner, settled)
                )
            _, *replies = await pipeline.execute()
        return {shard for shard, reply in zip(shards, replies, strict=True) if not reply}

    def _settled_keys(self, shard: int) -> tuple[str, ...]:
        keys = self._keys
        return (
            keys.lease(shard),
            keys.stream(shard),
            keys.seen(shard),
            keys.committed(shard),
            keys.failures(shard),
            keys.dead(shard),
            keys.digests(shard),
            keys.dead_marks(shard),
            keys.settled(shard),
            keys.dead_at(shard),
            keys.tried(shard),
        )

    async def note_tries(self, entries: Sequence[Entry]) -> list[int]:
        """Count one more try of each of these entries; returns how many there were."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for entry in entries:
                failures = self._keys.failures(entry.shard)
                pipeline.execute_command("HINCRBY", failures, entry.id, 1)
            return [int(count) for count in await pipeline.execute()]

    async def tries(self, entry: Entry) -> int:
        """How many tries of this entry were counted."""
        count = await self._redis.hget(self._keys.failures(entry.shard), entry.id.decode())
        return int(count or 0)

    async def is_in_storm(self, shard: int) -> bool:
        """Whether so many of the last batches were put aside that something else must be wrong."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.execute_command("GET", self._keys.settled(shard))
            pipeline.execute_command("LINDEX", self._keys.dead_at(shard), _ROW - 1)
            pipeline.execute_command("LINDEX", self._keys.dead_at(shard), _SHARE)
            settled, row, share = (int(each or 0) for each in await pipeline.execute())
        return bool((row and row > settled - _ROW) or (share and share > settled - _OF))


def _entry(shard: int, entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    return Entry(
        shard,
        entry_id,
        fields[b"w"].decode(),
        int(fields[b"s"]),
        fields[b"b"],
        int(fields[b"t"]),
        b"r" in fields,
    )


def _arguments(owner: str, settled: Settled) -> list[str | bytes | int]:
    arguments: list[str | bytes | int] = [owner, len(settled.marks)]
    for writer, mark in settled.marks.items():
        dead = ",".join(map(str, mark.dead))
        digests = ";".join(f"{seq}={digest:016x}" for seq, digest in mark.digests.items())
        arguments += (writer, mark.low, dead, digests)
    arguments.append(len(settled.entries))
    for entry in settled.entries:
        arguments += (entry.id, f"{entry.seq}/{entry.writer}")
    arguments.append(len(settled.dead))
    for entry, reason in settled.dead:
        arguments += (entry.id, reason)
    return arguments
