"""Start and stop of a process: what it asks of the kernel, and the signal to drain and exit with 0."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import resource
import signal
import sys
from collections.abc import Awaitable, Callable

__all__ = [
    "close_all",
    "die_with_parent",
    "raise_file_limit",
    "spare_collector",
    "stop_on_signals",
]

_LOG = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_CLOSE_S = 3.0


def stop_on_signals(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def close_all(*closings: Callable[[], Awaitable[object]]) -> None:
    """Close what a process used, within three seconds: a server that has vanished answers no farewell, and
    the process ends anyway."""
    try:
        async with asyncio.timeout(_CLOSE_S):
            for close in closings:
                await close()
    except TimeoutError:
        _LOG.warning("not_closed timeout_s=%.0f", _CLOSE_S)


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies (Linux only).

    So `penstock up` can start again at once after a `kill -9` of the supervisor.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def raise_file_limit() -> int:
    """Raise the limit of open files to the system's maximum; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS reports "unlimited", but refuses it
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def spare_collector() -> None:
    """Run the garbage collector less often once everything is loaded: a request creates thousands of
    short-lived objects and hardly a cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
