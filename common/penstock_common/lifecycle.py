"""How a process stops: a signal sets one event, the process drains, then leaves with 0."""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import signal
import sys

__all__ = ["die_with_parent", "stop_on_signals"]

_PR_SET_PDEATHSIG = 1


def stop_on_signals(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies (Linux; elsewhere nothing).

    This is what lets `penstock up` start again at once after a `kill -9` of the supervisor.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
