"""Whether a process has anything to do: what is kept up to date for its requests need not be while there
are none."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ["Activity"]


class Activity:
    """Knows of requests. Tasks pause shortly while there are some, and longer while there are none."""

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
        """Sleep for `busy_s`; then, if there was no request meanwhile, until there is one, but no longer
        than `rest_s` in all."""
        before = self._begun
        await asyncio.sleep(busy_s)
        if self._begun == before and not self._open:
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s - busy_s):
                    await self._woken.wait()
