"""What a gateway knows of the rest of the installation, read in the background so that no request waits."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock.error_codes import ErrorCode
from penstock.errors import Transient
from penstock.failpoints import fail
from penstock_common.process.activity import Activity
from penstock_common.process.bounds import Owner
from penstock_common.process.metrics import GatewayMetrics
from penstock_common.queue.redis_keys import SHARDS, RedisKeys
from penstock_ingest.safety import problem_of

__all__ = ["ServerStatus"]

_LOG = logging.getLogger(__name__)
_EVERY_S, _REST_S = 1.0, 3.0
_LAG_EVERY_S, _LAG_REST_S = 0.05, 1.0
"""How often to look while there are requests, and while there are none."""
_SAMPLES = 5
_MAX_AT_BOUND = 10_000
_NOT_SEEN = "the queue has not answered yet"


class ServerStatus:
    """The id of the store that workers commit to, how full the queue is and whether it is safe, which
    bounds are reached, whether somebody reads, and the lag of the event loop.

    Redis as a whole may take `backlog_bytes`, the stream of one shard half of that: when one shard
    stalls, the others continue. `stop` is set when this process has to shut down.
    """

    def __init__(
        self,
        redis: Redis,
        keys: RedisKeys,
        metrics: GatewayMetrics,
        stop: asyncio.Event,
        *,
        backlog_bytes: int,
        volatile_queue: bool = False,
        activity: Activity | None = None,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._metrics = metrics
        self._stop = stop
        self._backlog_bytes = backlog_bytes
        self._activity = activity or Activity()
        self.volatile_queue = volatile_queue
        self._refreshed_at = -_EVERY_S
        self.store = ""
        self.queue_problem = _NOT_SEEN
        self.is_queue_full = False
        self.queue_fill = 0.0
        self.full_shards: frozenset[int] = frozenset()
        self.at_bound: frozenset[Owner] = frozenset()
        self.is_watched = True
        metrics.draining.set_function(stop.is_set)

    @property
    def is_draining(self) -> bool:
        return self._stop.is_set()

    @property
    def is_queue_safe(self) -> bool:
        """Whether Redis keeps what it acknowledged, or the operator accepts that it may not."""
        return not self.queue_problem or self.volatile_queue

    def check(self) -> None:
        """Raises `Transient` if no batch can be accepted."""
        if not self.is_queue_safe:
            raise Transient(
                f"the queue is not safe: {self.queue_problem}", code=ErrorCode.QUEUE_UNSAFE
            )
        if self.is_queue_full:
            raise _overloaded("the queue is full until workers catch up")

    def check_shard(self, shard: int) -> None:
        """Raises `Transient` if this shard cannot accept batches."""
        if shard in self.full_shards:
            raise _overloaded("this run's part of the queue is full until workers catch up")

    async def refresh(self) -> None:
        """Refresh once. While Redis does not answer, the last values stay."""
        try:
            async with asyncio.timeout(5):
                asked = await self._ask()
        except (RedisError, OSError, TimeoutError):
            _LOG.warning("queue_unreachable")
            return
        self._refreshed_at = time.monotonic()
        store, watched, memory, persistence, server, (now, _), at_bound, *streams = asked
        self.store = store.decode() if store else ""
        self.is_watched = bool(watched)
        self.at_bound = frozenset(
            Owner(*text.decode().split(" ", 1)) for text, until in at_bound if float(until) > now
        )
        problem = problem_of({**memory, **persistence, **server})
        if problem != self.queue_problem and problem:
            _LOG.error("queue_unsafe reason=%s accepted=%s", problem, self.volatile_queue)
        self.queue_problem = problem
        sizes = [size or 0 for size in streams]
        half = self._backlog_bytes / 2
        self.full_shards = frozenset(shard for shard in range(SHARDS) if sizes[shard] > half)
        used = memory["used_memory"]
        self.is_queue_full = used > self._backlog_bytes
        self.queue_fill = max(used / self._backlog_bytes, max(sizes) / half)

    async def refresh_if_old(self) -> None:
        """Refresh if nothing has been asked of this process for a while."""
        if time.monotonic() > self._refreshed_at + _EVERY_S:
            await self.refresh()

    async def _ask(self) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.execute_command("GET", self._keys.store())
        pipeline.execute_command("EXISTS", self._keys.watched())
        for section in ("memory", "persistence", "server"):
            pipeline.execute_command("INFO", section)
        pipeline.execute_command("TIME")
        key = self._keys.at_bound()
        pipeline.execute_command(
            "ZREVRANGE", key, 0, _MAX_AT_BOUND - 1, "WITHSCORES", withscores=True
        )
        for shard in range(SHARDS):
            stream = self._keys.stream(shard)
            pipeline.execute_command("MEMORY USAGE", stream, "SAMPLES", _SAMPLES)
        return await pipeline.execute()

    async def watch_queue(self) -> None:
        """Refresh until cancelled."""
        while True:
            fail("gateway.status")
            await self.refresh()
            await self._activity.pause(_EVERY_S, _REST_S)

    async def watch_loop(self) -> None:
        """Measure how late timers fire, until cancelled."""
        while True:
            due = time.perf_counter() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self._metrics.loop_lag.observe(max(0.0, time.perf_counter() - due))
            await self._activity.pause(0, _LAG_REST_S)


def _overloaded(message: str) -> Transient:
    return Transient(message, code=ErrorCode.OVERLOADED)
