"""The lock of a client's lines: one request of a run's client at a time, whatever gateway it comes to.

Lines are told apart by their counts, and their batches are numbered in the order in which they are
queued. So the next request may be looked at only when the lines of the last one are claimed and queued.
The lock is kept in Redis, which the batches go to anyway; it ends by itself if its gateway is killed.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockError, RedisError

from penstock.errors import Transient
from penstock_common.process.metrics import GatewayMetrics
from penstock_ingest.queue_errors import unavailable

__all__ = ["StreamLock"]

_LOG = logging.getLogger(__name__)

_HELD_S = 30.0
"""Longer than the largest request takes to be translated; it is renewed before that is queued."""
_PATIENCE_S = 20.0
_RETRY_EVERY_S = 0.05


class StreamLock:
    """The lock under this Redis key. Every method but `release` raises `Transient` if Redis fails."""

    def __init__(self, redis: Redis, key: str, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._lock = Lock(
            redis,
            key,
            timeout=_HELD_S,
            sleep=_RETRY_EVERY_S,
            blocking_timeout=_PATIENCE_S,
            thread_local=False,
        )

    async def acquire(self) -> None:
        """Raises `Transient` if others hold it for too long."""
        try:
            is_held = await self._lock.acquire()
        except RedisError as error:
            raise unavailable(error, self._metrics) from error
        if not is_held:
            raise _not_stored("lines that were sent before are still being queued")

    async def renew(self) -> None:
        """Raises `Transient` if it is no longer held."""
        try:
            await self._lock.reacquire()
        except LockError:
            raise _not_stored("reading these lines took too long") from None
        except RedisError as error:
            raise unavailable(error, self._metrics) from error

    async def release(self) -> None:
        """Does nothing if it is not held."""
        try:
            with suppress(LockError):
                await self._lock.release()
        except RedisError:
            _LOG.warning("stream_lock_left until it ends by itself", exc_info=True)


def _not_stored(text: str) -> Transient:
    return Transient(text, code="not_committed", retry_after_s=2)
