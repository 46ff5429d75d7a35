"""Start and stop of a process: it waits for what it needs; on a signal it drains, then exits with 0."""

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

from redis.exceptions import RedisError

from penstock.errors import Transient

__all__ = [
    "die_with_parent",
    "patiently",
    "raise_file_limit",
    "spare_collector",
    "stop_on_signals",
]

_LOG = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_PAUSE_S = 0.05


def stop_on_signals(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


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
