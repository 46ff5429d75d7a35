"""Connections to Redis, for every process: with timeouts, and without automatic retry.

A command that timed out may have run. Only the caller knows whether it may be repeated.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError

__all__ = ["connect"]


def connect(url: str, *, timeout_s: float, connections: int = 16) -> Redis:
    """A client for `redis://`, `rediss://` or `unix://`; replies are bytes."""
    redis: Redis = Redis.from_url(
        url,
        decode_responses=False,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        max_connections=connections,
        health_check_interval=0,
    )
    pool = redis.connection_pool
    pool.connection_class = type("Connection", (_BrokenIsAnError, pool.connection_class), {})
    return redis


class _BrokenIsAnError(AbstractConnection):
    """Writing to a connection that just broke raises a `ConnectionError` like any other.

    uvloop raises a RuntimeError then, which callers prepared for a lost Redis do not expect.
    """

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            await self.disconnect(nowait=True)
            raise ConnectionError(f"the connection to Redis broke: {error}") from error
