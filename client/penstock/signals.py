"""SIGTERM: what a scheduler sends a while before it takes the machine away."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["on_terminate"]


def on_terminate(note: Callable[[Callable[[], None]], None]) -> None:
    """Call `note` when SIGTERM comes, and then do what would have been done without it.

    `note` gets what ends the process, or runs the handler that was there before, and calls it as
    soon as it has noted what it wants. Only the main thread may set handlers; elsewhere, and where
    the signal is ignored, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    previous = signal.getsignal(signal.SIGTERM)
    if previous is None or previous == signal.SIG_IGN:
        return

    def handle(number: int, frame: FrameType | None) -> None:
        def go_on() -> None:
            if callable(previous):
                previous(number, frame)
            else:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGTERM)

        note(go_on)

    signal.signal(signal.SIGTERM, handle)
