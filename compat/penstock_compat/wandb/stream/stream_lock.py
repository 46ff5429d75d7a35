"""Lets one request at a time of a run's client be read and queued, across all gateways.

Line counts show which process sent a request, and batch numbers must rise in queue order. Both hold
only if a request's lines are claimed and queued before the next request is read. The lock is a key in
Redis, which the batches need anyway; it expires if its gateway is killed.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockError, RedisError

from penstock.error_codes import ErrorCode
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
            _LOG.warning("stream_lock_left; it expires", exc_info=True)


def _not_stored(text: str) -> Transient:
    return Transient(text, code=ErrorCode.NOT_COMMITTED, retry_after_s=2)
