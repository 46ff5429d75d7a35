"""What a run records of its own process, by the process beside it: console output, facts and code."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.runs.hooks import in_kernel

if TYPE_CHECKING:
    from penstock.capture.tap import Tap
    from penstock.runs.observers import Observer
    from penstock.runs.run import Run

__all__ = ["tap_into"]


def tap_into(run: Run) -> Observer | None:
    """Attach to a run; None if it records nothing of this kind. Raises OSError."""
    settings = run.settings
    wants = _wants(run)
    console = settings.console
    if console == "auto":
        console = "wrap" if in_kernel() else "redirect"
    if console == "off" and not wants:
        return None
    from penstock.capture.tap import TAP  # noqa: PLC0415  (only where it is needed)

    spool = run._writer.spool()
    is_open = TAP.open(
        spool.folder,
        console=console,
        wants=wants,
        resumed=run.resumed and settings.mode != "offline",
        limit_bytes=spool.options.limit_bytes,
    )
    return _Tapped(run, TAP, spool.folder) if is_open else None


class _Tapped:
    """The observer of one run."""

    def __init__(self, run: Run, tap: Tap, folder: Path) -> None:
        self._run, self._tap, self._folder = run, tap, folder

    def finish(self) -> None:
        reason = _exit_reason()
        if reason and self._run.is_primary:
            self._run._recorder.say("run", exit_reason=reason)
        self._tap.close(self._folder)

    def forget_after_fork(self) -> None:
        self._tap.forget_after_fork()


def _wants(run: Run) -> list[str]:
    """What is to be found out; ranks besides the first are started in the same way."""
    settings = run.settings
    if not run.is_primary:
        return []
    wanted = [fact for fact in settings.facts if fact != "git" or not settings.disable_git]
    keeps_code = settings.save_code and not settings.disable_code
    return [*wanted, "code"] if keeps_code else wanted


def _exit_reason() -> str:
    """The last line of the exception that ends this process, or the block that the run is used in."""
    error = sys.exc_info()[1]
    if error is None and not in_kernel():
        error = getattr(sys, "last_value", None)
    if error is None or isinstance(error, SystemExit):
        return ""
    import traceback  # noqa: PLC0415  (only now)

    lines = traceback.format_exception_only(type(error), error)
    text = lines[-1].strip() if lines else ""
    if not text:
        return ""
    from penstock.capture.secrets import Redactor, secrets_in  # noqa: PLC0415  (as above)

    return Redactor(secrets_in(os.environ))(text)[:1_000]
