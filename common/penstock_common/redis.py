"""How every process connects to Redis: bounded waits, and no retries behind its back.

A command that timed out may have happened. Only the caller knows whether it may be repeated.
"""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

__all__ = ["connect"]


def connect(url: str, *, timeout_s: float, connections: int = 16) -> Redis:
    """A client for `redis://`, `rediss://` or `unix://`; replies are bytes."""
    return Redis.from_url(
        url,
        decode_responses=False,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        max_connections=connections,
        health_check_interval=0,
    )
