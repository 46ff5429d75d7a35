"""This worker's sign of life: what it reports of its work, so that others notice when it is stuck."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock_common.process.watchdog import Watchdog
from penstock_common.queue.redis_keys import RedisKeys
from penstock_common.queue.worker_sign import SIGN_EVERY_S, SIGN_TTL_S, WorkerSign

__all__ = ["MAX_STEP_S", "Sign"]

_LOG = logging.getLogger(__name__)
MAX_STEP_S = 900.0
"""The most that a commit, a pass over tiers, or loading what is known of many runs may take."""
_TURN_PATIENCES, _PROGRESS_PATIENCES = 8, 20
"""Multiples of the patience: a turn has several steps, and many turns may pass before the first of
many entries is stored."""
_MIN_PATIENCE_S = 30.0
"""Covers a Redis that does not answer: one command takes 10 s to fail."""


class Sign:
    """Called by the loop when it turns, commits or waits; reported to Redis and to the watchdog."""

    def __init__(
        self,
        redis: Redis,
        keys: RedisKeys,
        worker: str,
        owned: Mapping[int, int],
        watchdog: Watchdog,
    ) -> None:
        self._redis = redis
        self._key = keys.worker(worker)
        self._owned = owned
        self._loop = watchdog.part(
            "main loop", max(_MIN_PATIENCE_S, _TURN_PATIENCES * watchdog.patience_s)
        )
        self._progress = watchdog.part(
            "commits", max(_MIN_PATIENCE_S, _PROGRESS_PATIENCES * watchdog.patience_s)
        )
        self._turned = time.monotonic()
        self._committed: dict[int, float] = {}
        self._retrying = ""
        self._retries = 0

    def turned(self, allow_s: float = 0.0) -> None:
        """The loop made a step; the next one may take `allow_s`."""
        self._loop.beat(allow_s)
        self._turned = time.monotonic()

    def progressed(self) -> None:
        """Something was found out about batches that fail, though nothing is committed yet."""
        self._progress.beat()
        self._retrying = ""

    def committed(self, shards: Iterable[int]) -> None:
        """Something of these shards was committed, or there is nothing to commit."""
        self.progressed()
        self._retries = 0
        for shard in shards:
            self._committed[shard] = time.monotonic()

    def waits(self, reason: str) -> int:
        """Something that the worker needs is failing, and it retries: that is all it can do. Returns how
        often it did since something was committed."""
        self.turned()
        self._progress.beat()
        self._retrying = reason
        self._retries += 1
        return self._retries

    async def keep(self) -> None:
        """Report until cancelled."""
        while True:
            try:
                await self._redis.set(self._key, self._now().dump(), ex=SIGN_TTL_S)
            except (RedisError, OSError, TimeoutError) as error:
                _LOG.warning("sign_not_given error=%s", type(error).__name__)
            await asyncio.sleep(SIGN_EVERY_S)

    def _now(self) -> WorkerSign:
        now, owned = time.monotonic(), list(self._owned)
        self._committed = {shard: self._committed.get(shard, now) for shard in owned}
        idle = {shard: now - since for shard, since in self._committed.items()}
        return WorkerSign(self._retrying, now - self._turned, idle)
