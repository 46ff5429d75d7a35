"""Demand for commits. Many small commits are what an otherwise idle installation spends its processor
time on, so workers gather batches for some seconds unless somebody waits for them:

- A shard's *bell* asks for a commit of what is queued there now. Gateways ring it for batches that must
  not wait.
- While somebody *watches*, workers commit as often as they may. Whoever reads says so.

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
from penstock_common.queue.scripts import ENTRY

__all__ = ["WATCH_S", "Command", "Looks", "nobody_looks", "ring_commands", "watch_command"]

_LOG = logging.getLogger(__name__)

WATCH_S = 30
"""How long workers commit often after somebody looked."""

_RENEW_S = WATCH_S / 3
_MAX_WAIT_S = 1.0
_ASK_EVERY_S = 0.02

Command = tuple[str | bytes | int, ...]


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


async def nobody_looks() -> None:
    """In place of `Looks.look` where workers need not know that somebody reads."""


class Looks:
    """Tells workers that somebody reads, so that what is read is up to date."""

    def __init__(self, redis: Redis, keys: RedisKeys) -> None:
        self._redis = redis
        self._keys = keys
        self._due_at = 0.0
        self._look: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Somebody reads. If nobody did before, wait until what is queued now is stored, but at most a
        second. Costs nothing while others are reading too."""
        if self._look is None and time.monotonic() >= self._due_at:
            self._look = asyncio.create_task(self._look_once(), name="look")
            self._look.add_done_callback(self._looked)
        if self._look is not None:
            await asyncio.wait({self._look}, timeout=_MAX_WAIT_S)

    def _looked(self, look: asyncio.Task[None]) -> None:
        self._look = None
        self._due_at = time.monotonic() + _RENEW_S

    async def _look_once(self) -> None:
        try:
            async with asyncio.timeout(_MAX_WAIT_S):
                queued = await self._queued()
                while queued:
                    await asyncio.sleep(_ASK_EVERY_S)
                    queued = await self._still_queued(queued)
        except TimeoutError:
            pass  # they are read as they are
        except (RedisError, OSError) as error:
            _LOG.warning("look_not_told error=%s", type(error).__name__)

    async def _queued(self) -> dict[int, bytes]:
        """The newest entry of each shard that has any; empty if workers commit often already."""
        streams = map(self._keys.stream, range(SHARDS))
        before, *newest = await self._run(
            [watch_command(self._keys), *(("EVAL", ENTRY, 1, each, "") for each in streams)]
        )
        if before:
            return {}
        # Also those with nothing queued: their workers hear of it that way.
        await self._run(ring_commands(self._keys, range(SHARDS)))
        return {shard: entry for shard, entry in enumerate(newest) if entry}

    async def _still_queued(self, queued: dict[int, bytes]) -> dict[int, bytes]:
        oldest = await self._run(
            ("EVAL", ENTRY, 1, self._keys.stream(shard), entry) for shard, entry in queued.items()
        )
        left = zip(queued.items(), oldest, strict=True)
        return {shard: entry for (shard, entry), is_there in left if is_there}

    async def _run(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute()
