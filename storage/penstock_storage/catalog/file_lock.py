"""A file that one process at a time may lock, on one machine. The lock ends with the process."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["locked_file"]


@asynccontextmanager
async def locked_file(path: str, *, every_s: float) -> AsyncIterator[None]:
    """Hold the lock of this file while the block runs; try again after `every_s` while another process has
    it."""
    with await asyncio.to_thread(Path(path).open, "a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(every_s)
        yield
