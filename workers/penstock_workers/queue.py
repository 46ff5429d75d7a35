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

__all__ = ["Entry", "Queue", "Settled"]

_FIRST_COUNT = 16
_MOST_COUNT = 4_096


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch as it lies in a stream. `received` is when the gateway had it, in µs."""

    shard: int
    id: bytes
    writer: str
    seq: int
    raw: bytes
    received: int


@dataclass(slots=True)
class Settled:
    """What a commit says to one shard's queue: new marks, entries to free, dead letters."""

    marks: dict[str, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    dead: list[tuple[Entry, str]] = field(default_factory=list)


class Queue:
    """Reads the streams of the shards given to it, each from where it stopped."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._cursor: dict[int, bytes] = {}
        self._entry_bytes = 65_536.0
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
            replies = await pipeline.execute()
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
        )

    async def note_failure(self, entry: Entry) -> int:
        """Count one more failure of this entry; returns how many there were."""
        failures = self._keys.failures(entry.shard)
        return int(await self._redis.hincrby(failures, entry.id.decode(), 1))


def _entry(shard: int, entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    return Entry(
        shard, entry_id, fields[b"w"].decode(), int(fields[b"s"]), fields[b"b"], int(fields[b"t"])
    )


def _arguments(owner: str, settled: Settled) -> list[str | bytes | int]:
    arguments: list[str | bytes | int] = [owner, len(settled.marks)]
    for writer, mark in settled.marks.items():
        arguments += (writer, mark)
    arguments.append(len(settled.entries))
    for entry in settled.entries:
        arguments += (entry.id, f"{entry.seq}/{entry.writer}")
    arguments.append(len(settled.dead))
    for entry, reason in settled.dead:
        arguments += (entry.id, reason)
    return arguments
