"""A process waits for what it needs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from penstock.errors import Transient

__all__ = ["patiently"]

_LOG = logging.getLogger(__name__)
_PAUSE_S = 0.05


async def patiently(step: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
    """Retry `step` until what it needs is there: the parts of Penstock start in any order.

    Gives up only when told to stop.
    """
    is_logged = False
    while not stop.is_set():
        try:
            await step()
            return
        except (Transient, RedisError, OSError, TimeoutError) as error:
            if not is_logged:
                _LOG.info("waiting_for error=%s", error)
                is_logged = True
            await asyncio.sleep(_PAUSE_S)
