"""A process waits for what it needs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis.exceptions import RedisError

from penstock.errors import Transient

__all__ = ["ToldToStop", "patiently"]

_LOG = logging.getLogger(__name__)
_PAUSE_S = 0.05


class ToldToStop(Exception):
    """The process has to end before it was ready for work."""


async def patiently(step: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
    """Retry `step` until what it needs is there: the parts of Penstock start in any order.

    Raises `ToldToStop`, and gives up a step that is still waiting, once `stop` is set.
    """
    stopped = asyncio.ensure_future(stop.wait())
    is_logged = False
    try:
        while not stop.is_set():
            trying = asyncio.ensure_future(step())
            try:
                await asyncio.wait({trying, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if trying.done():
                    await trying
                    return
            except (Transient, RedisError, OSError, TimeoutError) as error:
                if not is_logged:
                    _LOG.info("waiting_for error=%s", error)
                    is_logged = True
            finally:
                trying.cancel()
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(stopped), _PAUSE_S)
        raise ToldToStop
    finally:
        stopped.cancel()
