"""The watchdog of a process: it detects parts that fail, hang or go silent, and ends the process.

A process that exits is restarted by `penstock up`, systemd or Kubernetes; one that is half dead is
not. So an unexpected exception in a background task ends the process, and so does a part that makes no
turn for longer than its patience. A blocked event loop cannot notice that itself: its heartbeat stops,
and its supervisor replaces the process.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from penstock.errors import Rejected
from penstock_common.process.notify import ALIVE, EXTEND, READY, STOPPING, Notifier

__all__ = ["EXIT_FAILED", "PATIENCE_S", "Watchdog", "WatchedPart", "end_process", "watchdog_of"]

T = TypeVar("T")
EXIT_FAILED = 70  # EX_SOFTWARE
PATIENCE_S = 15.0
_LOOKS = 5
_MAX_TASKS_SHOWN = 50
_LOG = logging.getLogger(__name__)


class WatchedPart:
    """A part that must keep turning. Only time in which the watchdog ran counts as silence: after a
    suspend, or on an overloaded machine, no part is late."""

    def __init__(self, name: str, patience_s: float) -> None:
        self.name = name
        self.silent_s = 0.0
        self._patience_s = self._allowed_s = patience_s

    def beat(self, allow_s: float = 0.0) -> None:
        """The part made a turn; the next one may take `allow_s` if that is longer than its patience."""
        self.silent_s = 0.0
        self._allowed_s = max(self._patience_s, allow_s)

    def wait(self, seconds: float) -> None:
        """Add this much time of silence."""
        self.silent_s += seconds

    @property
    def is_hung(self) -> bool:
        return self.silent_s > self._allowed_s


class Watchdog:
    """Watches the parts and background tasks of this process.

    `end` is called with an exit status when one of them fails or hangs; without it the failure is only
    logged and shown by `problem`. With a patience of 0 nothing ever counts as hung.
    """

    def __init__(
        self,
        *,
        patience_s: float = PATIENCE_S,
        notifier: Notifier | None = None,
        end: Callable[[int], object] | None = None,
    ) -> None:
        self.patience_s = patience_s
        self._notifier = notifier or Notifier()
        self._end = end
        self._parts: dict[str, WatchedPart] = {}
        self._failure = ""
        self._is_ready = False
        self._is_extended = False
        waits = [each for each in (patience_s, self._notifier.watchdog_s) if each > 0]
        self._every_s = min(waits, default=PATIENCE_S) / _LOOKS

    @property
    def problem(self) -> str:
        """Why this process is not live; '' while it is."""
        hung = [part.name for part in self._parts.values() if self._is_hung(part)]
        return self._failure or (f"{', '.join(hung)} hung" if hung else "")

    def part(self, name: str, patience_s: float | None = None) -> WatchedPart:
        """Watch one more part, which must beat from now on."""
        part = WatchedPart(name, self.patience_s if patience_s is None else patience_s)
        self._parts[name] = part
        return part

    def leave(self, part: WatchedPart) -> None:
        """This part has ended normally."""
        self._parts.pop(part.name, None)

    def spawn(
        self, work: Coroutine[Any, Any, None], name: str, *, ends: bool = False
    ) -> asyncio.Task[None]:
        """Start a background task: if it fails, the process ends. It must run until it is cancelled, unless
        it `ends` by itself."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._done if ends else self._ended)
        return task

    @property
    def is_ready(self) -> bool:
        """Whether this process has said that it is ready, and not since that it is shutting down."""
        return self._is_ready

    def ready(self) -> None:
        """This process is ready for work."""
        self._is_ready = True
        self._notifier.tell(READY)

    @contextmanager
    def extended(self) -> Iterator[None]:
        """While the block runs, the start may take any time: stores are being loaded or upgraded."""
        self._is_extended = True
        try:
            yield
        finally:
            self._is_extended = False

    def stopping(self) -> None:
        """This process is shutting down."""
        self._is_ready = False
        self._notifier.tell(STOPPING)

    async def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run the process's main task with its heartbeat; an exception ends the process, except `Rejected`,
        which means that the settings or arguments are wrong."""
        with suppress(ValueError, OSError):  # where standard error is no file
            faulthandler.register(signal.SIGQUIT, all_threads=True)
        heart = self.spawn(self._watch(), "watchdog")
        try:
            return await main
        except Rejected:
            raise
        except Exception as error:
            self.fail("main", error)
            raise
        finally:
            heart.cancel()

    def fail(self, name: str, error: BaseException | None) -> None:
        """Log an unexpected failure and end the process."""
        self._failure = f"{name} failed: {type(error).__name__}" if error else f"{name} ended"
        _LOG.critical("part_failed name=%s", name, exc_info=error)
        if self._end is not None:
            self._end(EXIT_FAILED)

    def check(self, passed_s: float) -> bool:
        """Whether all parts are live after this much more time; if not, the process ends."""
        for part in self._parts.values():
            part.wait(passed_s)
        hung = [part for part in self._parts.values() if self._is_hung(part)]
        for part in hung:
            _LOG.critical("part_hung name=%s silent_s=%.1f", part.name, part.silent_s)
        if hung and self._end is not None:
            _show_stacks()
            self._end(EXIT_FAILED)
        return not hung

    async def _watch(self) -> None:
        checked = time.monotonic()
        while True:
            if self.check(min(time.monotonic() - checked, 2 * self._every_s)):
                self._notifier.tell(ALIVE, *([EXTEND] if self._is_extended else []))
            checked = time.monotonic()
            await asyncio.sleep(self._every_s)

    def _is_hung(self, part: WatchedPart) -> bool:
        return self.patience_s > 0 and part.is_hung

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not task.cancelling():
            self.fail(task.get_name(), task.exception())
        else:
            self._done(task)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(task.get_name(), error)


def watchdog_of(patience_s: float) -> Watchdog:
    """The watchdog of a whole process: it reports to the supervisor and can end the process."""
    return Watchdog(patience_s=patience_s, notifier=Notifier.of(os.environ), end=end_process)


def end_process(status: int) -> None:
    """Exit at once, without waiting for tasks that hang or ignore their cancellation."""
    logging.shutdown()
    os._exit(status)


def _show_stacks() -> None:
    """Log the stacks of all threads and tasks."""
    with suppress(ValueError, OSError, RuntimeError):
        faulthandler.dump_traceback(all_threads=True)
        for task in list(asyncio.all_tasks())[:_MAX_TASKS_SHOWN]:
            task.print_stack(file=sys.stderr)
