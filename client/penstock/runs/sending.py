"""Supervises the sending of a run's data: keeps a shipper running, reports problems, waits at the end.

A problem is reported once when it arises and again at the end. Nothing here raises into the training
loop.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

from penstock.notices import NOTICES
from penstock.runs.launch import ensure_shipper, is_shipper_running, last_words
from penstock.runs.remarks import kept_back, left_text, remarks
from penstock.settings import Settings
from penstock.spool.bell import ring
from penstock.spool.progress import Progress, load_progress

__all__ = ["Sending"]

_NOTHING_IS_TAKEN = frozenset({"deleted", "too_many_runs", "too_many_writers"})
_NEEDS_A_PERSON = frozenset({"no_key", "bad_url", "unreadable"})
"""Problems that only a person can fix: no reason to wait."""
_MAY_PASS = frozenset({"unauthorized", "unknown_version", "bad_ca_file", "internal"})
_MAY_PASS_S = 3.0
_FINISH_POLL_S = 0.01
_PREEMPTED_S = 15.0
"""Kubernetes and Slurm kill a process 30 s after SIGTERM: the script has other things to end."""
_CHECK_S = 5.0
_STARTER_TIMEOUT_S = 2.0
_MAX_FAILED_STARTS = 2


class Sending:
    """Supervises the sending of one run."""

    def __init__(self, settings: Settings, run: str) -> None:
        self.is_preempted = False
        """Whether SIGTERM has announced the end of this process."""
        self._settings = settings
        self._run = run
        self._starter: subprocess.Popen[bytes] | None = None
        self._check_at = 0.0
        self._failed_starts = 0
        self._read_at: tuple[int, int] | None = None

    def forget_after_fork(self) -> None:
        self._starter = None

    @property
    def patience_s(self) -> float:
        """How long `finish` waits, unless the caller says."""
        found = self._settings.finish_timeout_s
        if self.is_preempted and "finish_timeout_s" not in self._settings.given:
            return min(found, _PREEMPTED_S)
        return found

    def postpone(self) -> None:
        """Keep other threads from starting a shipper for a moment."""
        self._check_at = time.monotonic() + _CHECK_S

    def ensure(self, root: Path) -> None:
        """Make sure that a shipper is running for `root`."""
        if self._settings.mode == "offline":
            return
        self.postpone()
        starter = self._starter
        if starter is not None:
            if starter.poll() is None:
                return
            self._note_start(root, starter)
        try:
            self._starter = ensure_shipper(
                root,
                self._settings.spool_limit_bytes,
                is_bare=self._failed_starts % 2 == 1,  # the PYTHON* variables may be the cause
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._failed_starts += 1
            NOTICES.warn(
                "shipper",
                f"cannot start the sending process: {error}; data is kept in {root}",
            )

    def look(self, folder: Path) -> None:
        """Once a second, off the logging path: check that a shipper is running and healthy."""
        if self._settings.mode == "offline":
            return
        if self._is_gone(folder):
            return
        self._check(folder.parent)
        changed_at = _changed_at(folder)
        if changed_at != self._read_at:
            self._read_at = changed_at
            self.report(folder, load_progress(folder))

    def report(self, folder: Path, progress: Progress) -> None:
        """Report each problem once."""
        if progress.problem:
            name = f"{self._run} {progress.problem_code}"
            if name not in NOTICES.counts:
                what = "is kept and sent later"
                if progress.problem_code in _NOTHING_IS_TAKEN:
                    what = "is kept on this machine, not sent"
                NOTICES.warn(name, f"{progress.problem}; data {what}")
        for name, text in remarks(progress, folder):
            if f"{self._run} {name}" not in NOTICES.counts:
                NOTICES.warn(f"{self._run} {name}", text)

    def wait(self, folder: Path, begun: int, deadline: float) -> Progress:
        """Wait until everything from segment `begun` on is stored or cannot be stored for now, at most
        until `deadline` (monotonic)."""
        ring(folder.parent)
        progress = load_progress(folder)
        since = time.monotonic()
        try:
            while time.monotonic() < deadline:
                progress = load_progress(folder)
                self.report(folder, progress)
                if progress.problem_code not in _MAY_PASS:
                    since = time.monotonic()
                if progress.is_stored(begun) or self._is_hopeless(progress, since):
                    break
                if _is_stored_and_freed(folder):
                    return Progress(done=True, end_segment=begun)
                if self._is_gone(folder):
                    break
                self._check(folder.parent)
                time.sleep(_FINISH_POLL_S)
        except KeyboardInterrupt:
            NOTICES.say("not waiting any longer")
        if self._starter is not None:  # it has forked the shipper and exits
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._starter.wait(_STARTER_TIMEOUT_S)
        return progress

    def outcome(self, folder: Path, begun: int, progress: Progress) -> str:
        """What happened to the data, in words; empty if everything is stored."""
        if not progress.is_stored(begun):
            return left_text(folder, load_progress(folder))
        return kept_back(folder, progress)

    def _is_gone(self, folder: Path) -> bool:
        """Whether the data was deleted while the run was logging it."""
        if folder.is_dir() or _is_stored_and_freed(folder):
            return False
        NOTICES.warn(
            f"{self._run} gone",
            f"{folder} was deleted while the run was logging to it: data not on the server yet is lost",
        )
        return True

    def _is_hopeless(self, progress: Progress, since: float) -> bool:
        if progress.problem_code in _NEEDS_A_PERSON or self._failed_starts >= _MAX_FAILED_STARTS:
            return True
        return progress.problem_code in _MAY_PASS and time.monotonic() - since > _MAY_PASS_S

    def _check(self, root: Path) -> None:
        starter = self._starter
        has_failed = starter is not None and starter.poll() not in (None, 0)
        if has_failed or time.monotonic() >= self._check_at:
            self.ensure(root)

    def _note_start(self, root: Path, starter: subprocess.Popen[bytes]) -> None:
        """Check whether a starter that has exited left a shipper running."""
        self._starter = None
        if is_shipper_running(root):
            self._failed_starts = 0
            return
        words = last_words(root)
        if starter.returncode or words:
            self._failed_starts += 1
            NOTICES.warn(
                "shipper died",
                f"the sending process exited immediately: {words or f'status {starter.returncode}'}; data "
                f"is kept in {root}, see {root / 'shipper.err'}",
            )


def _changed_at(folder: Path) -> tuple[int, int] | None:
    """When the shipper last wrote this spool's progress; None if it has not. Reading it costs a hundred
    times as much."""
    try:
        found = (folder / "progress.json").stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _is_stored_and_freed(folder: Path) -> bool:
    """Whether the shipper has deleted the spool because everything is stored; if disk space is short
    it does so at once."""
    receipt = folder.parent / "receipts" / f"{folder.name}.receipt"
    return not folder.exists() and receipt.exists()
