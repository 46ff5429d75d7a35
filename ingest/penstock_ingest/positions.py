"""Writers' positions (offsets): up to which number batches are queued and committed, and which are dead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hiredis import ReplyError
from redis.exceptions import RedisError

from penstock_common.process.metrics import GatewayMetrics
from penstock_common.queue.redis_keys import RedisKeys, run_path, shard_of, writer_key
from penstock_ingest.pipe import Command, Pipe
from penstock_ingest.queue_errors import kind_of, unavailable
from penstock_storage.contracts.interface import RunRef

__all__ = ["WriterName", "WriterPosition", "WriterPositions", "dead_numbers", "queue_id", "reached"]


class WriterName(NamedTuple):
    """A writer's full name."""

    entity: str
    project: str
    run: str
    writer: str


@dataclass(slots=True)
class WriterPosition:
    """A writer's position. `queued`: this number was accepted. `committed`: every number up to this one
    is stored (None: the queue does not know). `queue` changes when Redis loses data, or may have,
    since another process answers. `dead`: numbers of batches that became dead letters."""

    entity: str
    project: str
    run: str
    writer: str
    queued: int
    committed: int | None
    queue: str
    dead: list[int] = field(default_factory=list)


class WriterPositions:
    """Looks up positions; `queued` is 0 in these, since nothing was sent."""

    def __init__(self, pipe: Pipe, keys: RedisKeys, metrics: GatewayMetrics) -> None:
        self._pipe = pipe
        self._keys = keys
        self._metrics = metrics

    async def fetch(
        self, writers: Sequence[WriterName], alive: Sequence[WriterName] = ()
    ) -> list[WriterPosition]:
        """The positions of `writers`, in their order; heartbeats are recorded for the runs of `alive`.

        Raises `Transient` if Redis fails.
        """
        shards: dict[int, list[WriterName]] = {}
        for name in writers:
            shards.setdefault(shard_of(_path(name)), []).append(name)
        replies = await self._ask(shards, {_path(name) for name in alive})
        positions: dict[WriterName, WriterPosition] = {}
        for number, (shard, names) in enumerate(shards.items()):
            incarnation, committed, dead = replies[3 * number : 3 * number + 3]
            queue = queue_id(shard, incarnation or b"", self._pipe.server)
            for name, low, numbers in zip(names, committed, dead, strict=True):
                gone = dead_numbers(numbers)
                positions[name] = WriterPosition(*name, 0, reached(low, gone), queue, gone)
        return [positions[name] for name in writers]

    async def queue_writer(self, ref: RunRef) -> str:
        """The writer of the batches that the queue numbers for this run; "" if it has none yet."""
        try:
            reply = await self._pipe.execute(
                ("GET", self._keys.incarnation(shard_of(run_path(*ref))))
            )
        except RedisError as error:
            raise unavailable(error, self._metrics) from error
        if isinstance(reply, ReplyError):
            raise unavailable(reply, self._metrics) from reply
        return f"http-{reply.decode()}" if reply else ""

    async def _ask(self, shards: dict[int, list[WriterName]], alive: set[str]) -> list[Any]:
        """Three replies for each shard: incarnation, committed, dead seqs."""
        keys, now = self._keys, time.time_ns() // 1000
        commands: list[Command] = []
        for shard, names in shards.items():
            fields = [writer_key(_path(name), name.writer) for name in names]
            commands.append(("GET", keys.incarnation(shard)))
            commands.append(("HMGET", keys.committed(shard), *fields))
            commands.append(("HMGET", keys.dead_seqs(shard), *fields))
        for path in alive:
            commands.append(("HSET", keys.heartbeats(shard_of(path)), path, now))
        try:
            replies = await asyncio.gather(*map(self._pipe.execute, commands))
        except RedisError as error:
            raise unavailable(error, self._metrics) from error
        known, noted = replies[: 3 * len(shards)], replies[3 * len(shards) :]
        for reply in known:
            if isinstance(reply, ReplyError):
                raise unavailable(reply, self._metrics) from reply
        # A full Redis takes no heartbeats, but still answers with positions: these release spools.
        for reply in noted:
            if isinstance(reply, ReplyError):
                self._metrics.append_errors.labels(kind_of(reply)).inc()
        return known


def queue_id(shard: int, incarnation: bytes, server: str) -> str:
    """When this changes, clients send again: another incarnation has lost everything, and another server,
    such as a promoted replica, may have lost the newest entries."""
    return f"{shard}-{incarnation.decode()}-{server}"


def reached(committed: bytes | None, dead: Sequence[int]) -> int | None:
    """Up to which number everything is stored or dead. The first batches of a writer unknown to the
    store may be dead: no client should wait for them."""
    low = 0 if committed is None else int(committed)
    if not dead:
        return None if committed is None else low
    numbers = set(dead)
    while low + 1 in numbers:
        low += 1
    return None if committed is None and not low else low


def dead_numbers(text: bytes | None) -> list[int]:
    """The numbers of `3,7,12`, in order."""
    return sorted(int(each) for each in text.split(b",") if each) if text else []


def _path(name: WriterName) -> str:
    return run_path(name.entity, name.project, name.run)
