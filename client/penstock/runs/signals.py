"""SIGTERM, which a scheduler sends shortly before it reclaims the machine."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["on_terminate"]


def on_terminate(note: Callable[[Callable[[], None]], None]) -> None:
    """Call `note` on SIGTERM and then do what would have happened without it.

    `note` receives a function that ends the process or runs the previous handler, and calls it once it
    is done. Only the main thread may set handlers; in other threads, and if the signal is ignored,
    nothing is changed.
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

    try:
        signal.signal(signal.SIGTERM, handle)
    except ValueError:  # a subinterpreter
        return
    held = threading.local()

    def hold() -> None:
        held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, held.mask)

    def go_back() -> None:
        if signal.getsignal(signal.SIGTERM) is handle:
            signal.signal(signal.SIGTERM, previous)
        release()

    # A forked child has nothing to note and ends as it would without this. The signal is blocked
    # meanwhile: Python loses one that arrives in a child before its handlers are restored.
    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=go_back)
