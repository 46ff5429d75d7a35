"""Reaps processes that nobody else waits for.

In a container `penstock up` may be process 1, which inherits every process whose parent has ended: a copy of
Redis that was saving when Redis was killed, or what a command started by `docker exec` left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

import psutil

__all__ = ["reaping_orphans"]

_PAUSE_S = 5.0


@contextlib.contextmanager
def reaping_orphans(*, is_heir: bool | None = None, pause_s: float = _PAUSE_S) -> Iterator[None]:
    """Reap orphans while the block runs, if this process inherits them (by default: if it is process 1).

    Only within a running event loop, in the main thread.
    """
    if not (os.getpid() == 1 if is_heir is None else is_heir):
        yield
        return
    loop = asyncio.get_running_loop()
    reaper = _Reaper(loop, pause_s)
    loop.add_signal_handler(signal.SIGCHLD, reaper.look_later)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)
        reaper.stop()


class _Reaper:
    """Each child of our own has a thread that waits for it, so it is not a zombie for long: one that is
    still there at the second look is an orphan."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pause_s: float) -> None:
        self._loop = loop
        self._pause_s = pause_s
        self._seen: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None

    def look_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._pause_s, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        zombies = set(_zombies())
        for pid in zombies & self._seen:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._seen = zombies - self._seen
        if self._seen:
            self.look_later()


def _zombies() -> Iterator[int]:
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.status() == psutil.STATUS_ZOMBIE:
                yield child.pid
