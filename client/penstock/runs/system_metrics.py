"""Keeps the sampler of system metrics running while this process has runs that want them.

The measuring is done in a process of its own (`penstock.system`). Here is no thread and no work in `init`: the
thread that looks after the spools starts the sampler within a second, and starts it again if it dies.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.notices import NOTICES
from penstock.spool import keeper
from penstock.system.launch import FOLDER, call, ensure_sampler
from penstock.system.wish import sampler_name

if TYPE_CHECKING:
    from penstock.runs.run import Run

__all__ = ["observe_system"]

_CHECK_S, _MAX_CHECK_S = 5.0, 300.0
_STAYS_S = 120.0
"""A sampler that has to be started again after less is not well."""
_MAX_FAILED_STARTS = 3
"""Then it is said."""
_watches: dict[Path, _Watch] = {}


def observe_system(run: Run) -> SystemMetrics | None:
    """Have this machine measured for a run that wants it."""
    settings = run.settings
    if not settings.system_metrics or settings.x_disable_stats:
        return None
    return SystemMetrics(run._writer.spool().root, run.writer)


class SystemMetrics:
    """The observer of one run."""

    def __init__(self, root: Path, writer: str) -> None:
        self._root = root
        self._writer = writer
        watch = _watches.get(root)
        if watch is None:
            watch = _watches[root] = _Watch(root)
            keeper.add(watch)
        watch.writers.add(writer)
        if not call(root, watch.sampler, "new"):
            watch.check_at = 0.0

    def finish(self) -> None:
        """Ask for a last row, without waiting for it."""
        watch = _watches.get(self._root)
        if watch is None:
            return
        call(self._root, watch.sampler, f"end {self._writer}")
        watch.writers.discard(self._writer)
        if not watch.writers:
            del _watches[self._root]
            keeper.remove(watch)

    def forget_after_fork(self) -> None:
        _watches.clear()  # the child's thread looks after the child's own


class _Watch:
    """Of one root, for all runs of this process there; a `KeptSpool`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sampler = sampler_name()
        self.writers: set[str] = set()
        self.check_at = time.monotonic() + _CHECK_S
        self._starter: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._failed_starts = 0

    def prepare(self) -> None:
        """Nothing: the sampler is started by `look`."""

    def look(self) -> None:
        """Start the sampler unless one is running; less often each time that it does not stay."""
        now = time.monotonic()
        if self._starter is not None and self._starter.poll() is not None:
            self._starter = None
        if now < self.check_at or self._starter is not None:
            return
        self.check_at = now + _CHECK_S
        failure = "its process ended soon after its start"
        try:
            # Without this process's PYTHON* variables every other time: they may be the cause.
            self._starter = ensure_sampler(
                self.root, self.sampler, is_bare=self._failed_starts % 2 == 1
            )
            if self._starter is None:
                return
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            failure = str(error)
        if self._started_at and now - self._started_at < _STAYS_S:
            self._failed_starts += 1
            self.check_at = now + min(_CHECK_S * 2**self._failed_starts, _MAX_CHECK_S)
        else:
            self._failed_starts = 0
        self._started_at = now
        if self._failed_starts == _MAX_FAILED_STARTS:
            where = self.root / FOLDER
            NOTICES.warn(
                "system metrics", f"system metrics are not recorded: {failure}, see {where}"
            )
