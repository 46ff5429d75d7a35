"""Demand for commits. Many small commits are what an otherwise idle installation spends its processor
time on, so workers gather batches for some seconds unless somebody waits for them:

- A shard's *bell* asks for a commit of what is queued there now. Gateways ring it for batches that must
  not wait.
- While somebody *watches*, workers commit as often as they may. Every read over HTTP counts.

Both may get lost, with a Redis that is full or restarted: then a commit comes a few seconds later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock_common.queue.redis_keys import SHARDS, RedisKeys

__all__ = ["WATCH_S", "Command", "Demand", "no_demand", "ring_commands", "watch_command"]

_LOG = logging.getLogger(__name__)

WATCH_S = 30
"""How long workers commit often after somebody read."""

_RENEW_S = WATCH_S / 3
_MAX_WAIT_S = 1.0
_ASK_EVERY_S = 0.02

Command = tuple[str | bytes | int, ...]

# What is in a stream, without transferring any batch.
# KEYS: stream    ARGV: an id, or '' -> the id of the oldest entry up to that one, or of the newest; or false
_ENTRY = """
local found = ARGV[1] == '' and redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  or redis.call('XRANGE', KEYS[1], '-', ARGV[1], 'COUNT', 1)
return found[1] and found[1][1]
"""


def ring_commands(keys: RedisKeys, shards: Iterable[int]) -> list[Command]:
    """The commands that ring the bells of these shards. A bell that rings already stays one item."""
    return [
        command
        for bell in map(keys.bell, shards)
        for command in (("LPUSH", bell, 1), ("LTRIM", bell, 0, 0))
    ]


def watch_command(keys: RedisKeys) -> Command:
    """The command that says that somebody watches; its reply tells whether somebody did before."""
    return ("SET", keys.watched(), 1, "EX", WATCH_S, "GET")


async def no_demand() -> None:
    """In place of `Demand.note_read` where workers need not know that somebody reads."""


class Demand:
    """Tells workers that somebody reads, so that what is read is up to date."""

    def __init__(self, redis: Redis, keys: RedisKeys) -> None:
        self._redis = redis
        self._keys = keys
        self._due_at = 0.0
        self._watched_until = 0.0
        self._first_read: asyncio.Task[None] | None = None

    @property
    def is_watched(self) -> bool:
        """Whether somebody reads by way of this process."""
        return time.monotonic() < self._watched_until

    async def note_read(self) -> None:
        """Somebody reads. If nobody did before, wait until what is queued now is stored, but at most a
        second. Costs nothing while others are reading too."""
        self._watched_until = time.monotonic() + WATCH_S
        if self._first_read is None and time.monotonic() >= self._due_at:
            self._first_read = asyncio.create_task(self._wait_for_queued(), name="first read")
            self._first_read.add_done_callback(self._read_noted)
        if self._first_read is not None:
            await asyncio.wait({self._first_read}, timeout=_MAX_WAIT_S)

    def _read_noted(self, task: asyncio.Task[None]) -> None:
        self._first_read = None
        self._due_at = time.monotonic() + _RENEW_S

    async def _wait_for_queued(self) -> None:
        try:
            async with asyncio.timeout(_MAX_WAIT_S):
                queued = await self._queued()
                while queued:
                    await asyncio.sleep(_ASK_EVERY_S)
                    queued = await self._still_queued(queued)
        except TimeoutError:
            pass  # they are read as they are
        except (RedisError, OSError) as error:
            _LOG.warning("demand_not_told error=%s", type(error).__name__)

    async def _queued(self) -> dict[int, bytes]:
        """The newest entry of each shard that has any; empty if workers commit often already."""
        streams = map(self._keys.stream, range(SHARDS))
        before, *newest = await self._run(
            [watch_command(self._keys), *(("EVAL", _ENTRY, 1, each, "") for each in streams)]
        )
        if before:
            return {}
        # Also those with nothing queued: their workers hear of it that way.
        await self._run(ring_commands(self._keys, range(SHARDS)))
        return {shard: entry for shard, entry in enumerate(newest) if entry}

    async def _still_queued(self, queued: dict[int, bytes]) -> dict[int, bytes]:
        oldest = await self._run(
            ("EVAL", _ENTRY, 1, self._keys.stream(shard), entry) for shard, entry in queued.items()
        )
        left = zip(queued.items(), oldest, strict=True)
        return {shard: entry for (shard, entry), is_there in left if is_there}

    async def _run(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute()
