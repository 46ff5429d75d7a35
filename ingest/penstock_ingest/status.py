"""What a gateway knows of the rest, looked up in the background so that no request waits for it."""

from __future__ import annotations

import asyncio
import logging
import time

from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock_common.keys import Keys
from penstock_common.metrics import GatewayMetrics

__all__ = ["ServerStatus"]

_LOG = logging.getLogger(__name__)
_EVERY_S = 1.0
_LAG_EVERY_S = 0.05


class ServerStatus:
    """The id of the store that workers commit to, whether Redis is too full, the loop's lag."""

    def __init__(
        self, redis: Redis, keys: Keys, metrics: GatewayMetrics, *, backlog_bytes: int
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._metrics = metrics
        self._backlog_bytes = backlog_bytes
        self.store = ""
        self.is_queue_full = False
        self.is_draining = False

    async def watch(self) -> None:
        """Refresh until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_queue())
            tasks.create_task(self._watch_loop())

    async def _watch_queue(self) -> None:
        while True:
            try:
                async with asyncio.timeout(5):
                    store = await self._redis.get(self._keys.store())
                    memory = await self._redis.info("memory")
                self.store = _text(store)
                self.is_queue_full = memory["used_memory"] > self._backlog_bytes
            except (RedisError, OSError, TimeoutError):
                _LOG.warning("queue_unreachable")
            await asyncio.sleep(_EVERY_S)

    async def _watch_loop(self) -> None:
        while True:
            due = time.perf_counter() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self._metrics.loop_lag.observe(max(0.0, time.perf_counter() - due))


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
