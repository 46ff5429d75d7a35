"""Waits that end at once when the worker has to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

__all__ = ["sleep", "unless"]


async def sleep(seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but wake up at once when the worker has to stop."""
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)


async def unless(stop: asyncio.Event, waiting: Coroutine[Any, Any, bool]) -> bool:
    """What this finds; False once the worker has to stop."""
    found, stopped = asyncio.ensure_future(waiting), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({found, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return found.done() and found.result()
    finally:
        stopped.cancel()
        found.cancel()
