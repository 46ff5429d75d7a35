"""Whether a process has much to do: what is kept up to date for its requests is so less often while there
are few."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

__all__ = ["Activity"]


_FEW_PER_S = 4.0
"""So many requests per second are those of one run or of a probe, for which nothing has to be renewed often."""


class Activity:
    """Knows of requests. Tasks pause shortly while there are many, or one is open, and longer otherwise."""

    def __init__(self) -> None:
        self._begun = 0
        self._open = 0
        self._woken = asyncio.Event()

    def begin(self) -> None:
        """A request arrives."""
        self._begun += 1
        self._open += 1
        self._woken.set()

    def end(self) -> None:
        """It is answered."""
        self._open -= 1

    async def pause(self, busy_s: float, rest_s: float) -> None:
        """Sleep for `busy_s`; then, if there were few requests meanwhile, until there are many, but no longer
        than `rest_s` in all."""
        before, since = self._begun, time.monotonic()
        await asyncio.sleep(busy_s)
        if self._open:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(rest_s - busy_s):
                while self._begun - before <= _FEW_PER_S * (time.monotonic() - since):
                    self._woken.clear()
                    await self._woken.wait()
