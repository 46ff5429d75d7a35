"""Asks workers to commit at once what must not wait for their timer: see `penstock_common.queue.demand`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from redis.exceptions import RedisError

from penstock.wire import Batch
from penstock_common.queue.demand import ring_commands
from penstock_common.queue.redis_keys import SHARDS, RedisKeys
from penstock_ingest.pipe import Pipe

__all__ = ["Bells", "is_urgent"]

_AT_ONCE = frozenset({"run", "config", "state", "alert"})
"""Kinds of records that somebody is likely to wait for: a run appears, changes or ends."""
_GATHERED_BYTES = 2**20
"""Decoded bytes of a shard that may wait for a timer. More is worth a commit of its own."""


def is_urgent(batch: Batch) -> bool:
    """Whether this batch must be committed at once: a writer's first one, or one that says more than
    numbers."""
    return batch.seq == 1 or any(record.get("t") in _AT_ONCE for record in batch.records)


class Bells:
    """Rings the bells of shards through the gateway's connection, without waiting for it."""

    def __init__(self, pipe: Pipe, keys: RedisKeys) -> None:
        self._pipe = pipe
        self._keys = keys
        self._gathered = [0] * SHARDS
        self._ringing: set[asyncio.Task[None]] = set()

    def added(self, shard: int, size: int, *, is_urgent: bool) -> None:
        """A batch of this decoded size was queued."""
        self._gathered[shard] += size
        if is_urgent or self._gathered[shard] > _GATHERED_BYTES:
            self.ring([shard])

    def ring(self, shards: Iterable[int]) -> None:
        """Ask for a commit of these shards."""
        shards = list(shards)
        for shard in shards:
            self._gathered[shard] = 0
        task = asyncio.create_task(self._ring(shards), name="ring bells")
        self._ringing.add(task)
        task.add_done_callback(self._ringing.discard)

    async def _ring(self, shards: list[int]) -> None:
        try:
            await asyncio.gather(*map(self._pipe.execute, ring_commands(self._keys, shards)))
        except RedisError:
            return  # the workers' timer comes anyway
