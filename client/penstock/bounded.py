"""Bounded waits for calls that may never return, such as reading a home folder on a dead file
server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["ANSWER_S", "within"]

ANSWER_S = 10.0
"""Longer than a busy file server takes, short enough for a training script to wait once."""

T = TypeVar("T")

_hanging: dict[str, threading.Thread] = {}


def within(what: str, action: Callable[[], T], *, seconds: float | None = None) -> T:
    """Run `action` in a thread of its own and return or raise what it does. Raises TimeoutError (an
    OSError) if it takes longer than `seconds` (`ANSWER_S`), and at once while an earlier call for
    the same `what` still hangs, so that each costs one wait and one thread.

    The action may still finish later.
    """
    if (earlier := _hanging.get(what)) is not None:
        if earlier.is_alive():
            raise TimeoutError(f"{what} does not answer")
        del _hanging[what]
    returned: list[T] = []
    raised: list[BaseException] = []

    def call() -> None:
        try:
            returned.append(action())
        except BaseException as error:  # re-raised in the caller's thread
            raised.append(error)

    thread = threading.Thread(target=call, name="penstock-bounded", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread could be started
        return action()
    limit_s = ANSWER_S if seconds is None else seconds
    thread.join(limit_s)
    if raised:
        raise raised[0]
    if returned:
        return returned[0]
    _hanging[what] = thread
    raise TimeoutError(f"{what} did not answer in {limit_s:.0f} s")
