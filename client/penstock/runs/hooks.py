"""Hooks for the end of a process: exit, exception, `sys.exit`, SIGTERM, fork, multiprocessing.

`atexit` does not run in forked children of `multiprocessing`, and nothing runs at `os._exit`:
without these hooks such runs would appear crashed although they ended well.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

from penstock.kernel import in_kernel
from penstock.runs.signals import on_terminate

__all__ = ["Hooks", "in_kernel"]


class Hooks:
    """Callbacks for the end of this process and, after a fork, of its children.

    `at_exit(code)` may wait; `at_once(code)` must not; `after_fork()` is called in the child;
    `on_preempt(go_on)` is called as by `signals.on_terminate`.
    """

    def __init__(
        self,
        *,
        at_exit: Callable[[int], None],
        at_once: Callable[[int], None],
        after_fork: Callable[[], None],
        on_preempt: Callable[[Callable[[], None]], None],
    ) -> None:
        self._at_exit = at_exit
        self._at_once = at_once
        self._after_fork = after_fork
        self._on_preempt = on_preempt
        self._is_set = False
        self._process = 0
        self._code = 0

    def set(self) -> None:
        """Install once per process; children inherit the hooks."""
        if not self._is_set:
            self._is_set = True
            atexit.register(self._leave)
            os.register_at_fork(after_in_child=self._begin_child)
            self._watch_exceptions()
            self._watch_exits()
        if self._process != os.getpid():
            self._process = os.getpid()
            on_terminate(self._on_preempt)
            self._watch_multiprocessing()

    def _leave(self) -> None:
        self._at_exit(self._code or int(_has_failed()))

    def _begin_child(self) -> None:
        self._code = 0
        self._after_fork()

    def _watch_exceptions(self) -> None:
        previous = sys.excepthook

        def note(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            self._code = 1
            previous(kind, error, trace)

        sys.excepthook = note

    def _watch_exits(self) -> None:
        """Record the argument of `sys.exit`, which `atexit` functions cannot see."""
        leave, leave_at_once = sys.exit, os._exit

        def note_exit(status: Any = None, /) -> NoReturn:
            # In a notebook this ends a cell, not the process.
            if threading.current_thread() is threading.main_thread() and not in_kernel():
                self._code = exit_code(status)
            leave(status)

        def note_exit_at_once(status: int) -> NoReturn:
            if self._process == os.getpid():  # not in a child that inherited this
                with contextlib.suppress(Exception):  # the process ends now in any case
                    self._at_once(exit_code(status))
            leave_at_once(status)

        sys.exit = note_exit
        os._exit = note_exit_at_once

    def _watch_multiprocessing(self) -> None:
        process = sys.modules.get("multiprocessing.process")
        if process is None or process.parent_process() is None:
            return
        from multiprocessing.util import Finalize  # noqa: PLC0415  (loaded there already)

        Finalize(None, self._leave_child, exitpriority=0)

    def _leave_child(self) -> None:
        """Runs in a `finally` around the child's work, where its outcome is known."""
        error = sys.exc_info()[1]
        if isinstance(error, SystemExit):
            self._code = exit_code(error.code)
        elif error is not None:
            self._code = 1
        self._at_exit(self._code)


def _has_failed() -> bool:
    """Whether an exception ends this process: also if somebody has replaced the hook that would have seen it."""
    return getattr(sys, "last_value", None) is not None and not (hasattr(sys, "ps1") or in_kernel())


def exit_code(status: Any) -> int:
    """The exit code for an argument of `sys.exit`."""
    return status if isinstance(status, int) else int(status is not None)
