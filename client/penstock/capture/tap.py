"""The tap of a training process: one process beside for all of its open runs, from the first to the last.

Opening a run costs about a millisecond here: the process is started and not waited for. The end of the last run waits,
in bounded time, until everything that was printed has been passed on.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock.capture.beside import Beside
from penstock.capture.streams import (
    Redirected,
    Wrapped,
    flush_all,
    flush_python,
    redirected,
    wrapped,
)
from penstock.notices import NOTICES

__all__ = ["MOST_RUNS", "TAP", "Tap"]

MOST_RUNS = 32
"""How many runs of one process get its output at a time."""
_END_S = 3.0
_MAX_ARGUMENTS, _MAX_ARGUMENT_CHARS = 200, 1_000


class Tap:
    """Every run that is opened here is closed again."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._beside: Beside | None = None
        self._open: set[str] = set()

    def open(
        self, folder: Path, *, console: str, wants: Sequence[str], resumed: bool, limit_bytes: int
    ) -> bool:
        """Record for the run that writes to the spool `folder`; False if nothing is to be recorded.

        `console`: redirect, wrap or off, which the first run decides. `wants`: machine, packages, git, code.
        Raises OSError if that is impossible.
        """
        if console == "off" and not wants:
            return False
        with self._lock:
            if len(self._open) >= MOST_RUNS:
                NOTICES.warn(
                    "most runs",
                    f"console output and facts are recorded for {MOST_RUNS} runs of a process at a time",
                )
                return False
            if self._beside is None or self._beside.is_gone:
                self._open.clear()
                streams = _streams(console)
                try:
                    self._beside = Beside(streams, folder)
                except OSError:
                    for stream in streams:
                        stream.close()
                    raise
            self._open.add(str(folder))
            message = {
                "open": str(folder),
                "limit_bytes": limit_bytes,
                "resumed": resumed and console != "off",
                "wants": list(wants),
                "process": _process() if wants else {},
            }
            return self._beside.tell(message)

    def close(self, folder: Path) -> None:
        """Record nothing more for this run. Everything printed until now is recorded and passed on first."""
        with self._lock:
            beside, name = self._beside, str(folder)
            if beside is None or name not in self._open:
                return
            self._open.discard(name)
            flush_all()
            if self._open:
                beside.ask({"close": name}, _END_S)
                return
            self._beside = None
            beside.leave({"close": name, "leave": True}, _END_S)

    def forget_after_fork(self) -> None:
        """In a forked child: its output goes on through the parent's."""
        self._lock = threading.RLock()
        beside, self._beside = self._beside, None
        self._open = set()
        if beside is not None:
            beside.forget_after_fork()


def _streams(console: str) -> Sequence[Redirected | Wrapped]:
    """Raises OSError."""
    if console == "redirect":
        flush_python()  # printed before the run
        return redirected()
    return wrapped() if console == "wrap" else []


def _process() -> dict[str, Any]:
    """What only this process knows of itself."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    script = getattr(main, "__file__", None) or ""
    try:
        cwd = os.getcwd()  # noqa: PTH109 (pathlib is no use here)
    except OSError:  # it was deleted
        cwd = "/"
    command = [str(each)[:_MAX_ARGUMENT_CHARS] for each in sys.orig_argv[:_MAX_ARGUMENTS]]
    return {
        "command": command,
        "executable": sys.executable or "",
        "cwd": cwd,
        "script": str(script),
        "module": str(getattr(spec, "name", "") or ""),
        "sys_path": [each for each in sys.path if type(each) is str],
    }


TAP = Tap()
