"""A sender's report: its progress on disk, including its problems, which are also logged once."""

from __future__ import annotations

import errno
import logging
import time
from dataclasses import replace
from pathlib import Path

from penstock.errors import Rejected
from penstock.shipper.delivery import Delivery
from penstock.shipper.reader import SpoolReader
from penstock.spool.progress import Progress, load_progress, store_progress

__all__ = ["Report", "state_problem"]

log = logging.getLogger(__name__)

PROGRESS_INTERVAL_S = 1.0
SAID_S = 10 * 60.0
"""How often a recurring problem is logged."""


def internal_problem(folder: Path, error: Exception) -> str:
    """One line for the user: what happened, and where to find details."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return (
        f"sending failed with {' '.join(what.split())[:300]}; see {folder.parent / 'shipper.log'}"
    )


def state_problem(folder: Path, error: Exception) -> None:
    """Record why a spool cannot be sent at all, for its run and `penstock status`."""
    code, text = _problem_of(folder, error)
    try:
        store_progress(folder, replace(load_progress(folder), problem=text, problem_code=code))
    except OSError as failure:
        log.warning("%s: cannot record why it is not sent: %s", folder.name, failure)


def _problem_of(folder: Path, error: Exception) -> tuple[str, str]:
    if isinstance(error, Rejected):
        hint = f"; {error.hint}" if error.hint else ""
        return error.code, f"{error}{hint}"
    if isinstance(error, (OSError, ValueError)):
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        return "unreadable", f"{folder} cannot be read: {why}"
    return "internal", internal_problem(folder, error)


class Report:
    """Writes down how far one spool's `delivery` is, and what its problem is."""

    def __init__(self, folder: Path, run: str, delivery: Delivery) -> None:
        self.no_space = False
        """Whether this spool last found the disk full."""
        self._folder = folder
        self._run = run
        self._delivery = delivery
        self._failing: set[str] = set()
        self._silent_until: dict[str, float] = {}
        self._stored: Progress | None = None
        self._store_at = 0.0

    def say(self, code: str, text: str) -> None:
        """Set the current problem."""
        now = time.monotonic()
        if now >= self._silent_until.get(code, 0.0):
            log.warning("%s: %s (%s)", self._run, text, code)
            self._silent_until[code] = now + SAID_S
        self._delivery.has_problem(code, text)

    def broke(self, error: Exception) -> None:
        """Sending ended with an unexpected error: record why nothing arrives until a retry succeeds."""
        self.say("internal", internal_problem(self._folder, error))
        self.keep(at_once=True)

    def well(self) -> None:
        """Clear the problem, except for unresolved disk problems."""
        if not self._failing:
            self._delivery.has_problem("", "")

    def disk_failed(self, error: OSError, what: str = "spool") -> None:
        self._failing.add(what)
        self.no_space = error.errno in (errno.ENOSPC, errno.EDQUOT)
        self.say("disk", f"{self._folder} cannot be read or written: {error.strerror or error}")

    def disk_works(self, what: str = "spool") -> None:
        self._failing.discard(what)
        self.no_space = self.no_space and bool(self._failing)
        if not self._failing and self._delivery.progress.problem_code == "disk":
            self._delivery.has_problem("", "")

    def count_damage(self, reader: SpoolReader) -> None:
        """Add the damage found while reading."""
        self._delivery.damaged(reader.damaged_bytes, len(reader.missing))

    def keep(self, *, at_once: bool = False) -> None:
        """Periodically write the progress to disk if it changed. A failure loses nothing: the cuts and
        the server have the same information, and writing is retried."""
        now = time.monotonic()
        progress = self._delivery.progress
        if progress == self._stored or not (at_once or now >= self._store_at):
            return
        self._store_at = now + PROGRESS_INTERVAL_S
        try:
            store_progress(self._folder, progress)
        except OSError as error:
            self.disk_failed(error, "progress")
            return
        self.disk_works("progress")
        self._stored = progress
