"""A run: what `init` returns and what `log`, `config`, `summary` and `finish` act on.

After `init` nothing here raises into the training for reasons of server, network or disk: it is said
once on stderr, counted, and the data stays in the spool.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from penstock import __version__
from penstock.arguments import text_of, texts_of
from penstock.credentials import stored_key
from penstock.fields import Config, Selection, Summary
from penstock.launch import ensure_shipper
from penstock.meta import Meta, boot_id
from penstock.names import friendly_name, run_id
from penstock.notices import NOTICES
from penstock.progress import Progress, load_progress
from penstock.recording import FieldSender, Recorder
from penstock.remarks import left_text, remarks
from penstock.root import open_root
from penstock.settings import Settings, program
from penstock.slowpath import SlowPath
from penstock.spool import Spool, SpoolOptions
from penstock.writer import Writer

__all__ = ["Run"]

_NOTHING_IS_TAKEN = frozenset({"deleted", "too_many_runs", "too_many_writers"})
_FINISH_POLL_S = 0.01
_SHIPPER_CHECK_S = 5.0
_STARTER_TIMEOUT_S = 2.0


class Run:
    """One run of an experiment. Made by `penstock.init`; usable as a context manager."""

    def __init__(
        self,
        settings: Settings,
        config: Any = None,
        *,
        step: int = 0,
        selection: Selection | None = None,
        slow_path: SlowPath | None = None,
    ) -> None:
        """Opens the spool. Raises PenstockError or OSError if there is no place to keep data."""
        self.settings = settings
        self.id = settings.run_id or _shared_id(settings) or run_id()
        self.project = settings.project
        self.entity = settings.entity
        self.group = settings.group
        self.job_type = settings.job_type
        self.disabled = settings.mode == "disabled"
        self.finished = False
        self._name = settings.name or friendly_name()
        self._notes = settings.notes
        self._tags = settings.tags
        self._process = os.getpid()
        self._parent = ""
        self._starter: subprocess.Popen[bytes] | None = None
        self._shipper_check_at = 0.0
        self._slow_path = slow_path or SlowPath(strict=settings.strict)
        self._slow_path.repairs.run = self.id
        self._writer = self._slow_path.writer = Writer(self._open_spool, self._slow_path)
        self._writer.step = step
        self._recorder = Recorder(self._writer, self._slow_path, disabled=self.disabled)
        self._record = self._recorder.record
        self.config = Config(FieldSender(self._recorder, "config"), selection)
        self.summary = Summary(FieldSender(self._recorder, "summary"), self._writer.last_values)
        if self.disabled:
            self.log = self._ignore  # type: ignore[method-assign]
        else:
            # One call less for every row: the class's own `log` only carries the documentation.
            self.log = self._writer.log  # type: ignore[method-assign]
            self._begin()
        self.config.update(config)

    def log(
        self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None
    ) -> None:
        """Log a row of values; when this returns, they survive `kill -9` of the process.

        Without `step` the row gets the run's present step, which then goes up by one, unless
        `commit=False` leaves it so that the next call adds to the same step. With `step` the present
        step moves there (never back), and stays there unless `commit=True`. A row with a lower step
        is stored like any other; the same key logged again at a step replaces the older value.

        Numbers become points; strings, booleans, lists and histograms become values. Nested dicts
        are flattened with dots. Tensors and arrays are read aside, without waiting for a device.
        """
        self._writer.log(data, step, commit)

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = text_of(self._slow_path, "run.name", name) or self._name
        self._recorder.say("run", name=self._name)

    @property
    def notes(self) -> str | None:
        return self._notes

    @notes.setter
    def notes(self, notes: str) -> None:
        self._notes = text_of(self._slow_path, "run.notes", notes)
        self._recorder.say("run", notes=self._notes or "")

    @property
    def tags(self) -> tuple[str, ...]:
        return self._tags

    @tags.setter
    def tags(self, tags: Any) -> None:
        found = texts_of(self._slow_path, "run.tags", tags) or ()
        self._tags = (found,) if isinstance(found, str) else found
        self._recorder.say("run", tags=[*self._tags])

    @property
    def step(self) -> int:
        """The step of the next `log` without one."""
        return self._writer.step

    @property
    def dir(self) -> str:
        return str(self.settings.root)

    @property
    def url(self) -> str:
        """The page of this run; of all projects as long as its entity is not known."""
        if not self.entity:
            return self.project_url
        return f"{self.project_url}&run={urllib.parse.quote(self.id)}"

    @property
    def project_url(self) -> str:
        """The page of this run's project; of all projects as long as its entity is not known."""
        base = f"{self.settings.base_url}/"
        if not self.entity:
            return base
        return f"{base}?project={urllib.parse.quote(f'{self.entity}/{self.project}', safe='/')}"

    def define_metric(self, name: str, step_metric: Any = None, **options: Any) -> None:
        """Say how a metric, or every one that a pattern like `val/*` fits, is meant.

        summary: min, max, mean, best, first, last, none, or several; what the run's summary on the
        server has of it, as `{"max": 0.9}`. goal: minimize or maximize, for best. step_metric: the
        metric that is its axis. All of it is kept with the run.
        """
        options = {"name": name, "step_metric": step_metric, **options}
        given = {name: value for name, value in options.items() if value is not None}
        self._recorder.say("define_metric", **given)

    def alert(self, title: str, text: str = "", level: Any = "INFO", **options: Any) -> None:
        """Record an alert with the run."""
        now_us = time.time_ns() // 1_000
        self._recorder.say("alert", title=title, text=text, level=level, time=now_us)

    def finish(
        self,
        exit_code: int | None = None,
        quiet: bool | None = None,
        *,
        timeout_s: float | None = None,
    ) -> None:
        """End the run and wait until the server has stored everything, at most `timeout_s`.

        What is left then stays on disk and is sent later by the shipper.
        """
        if self.finished or self._writer.interrupted:
            return
        self.finished = True
        if self.disabled:
            return
        timeout_s = self.settings.finish_timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + timeout_s
        if not self._slow_path.drain(timeout_s):
            NOTICES.warn("drain", "some values that were waited for are not logged")
        self._slow_path.repairs.flush()
        spool = self._close(exit_code or 0)
        if spool is not None and self.settings.mode != "offline":
            try:
                self._wait(spool, deadline, quiet=bool(quiet))
            except Exception as error:  # the seam: finish never raises
                NOTICES.warn("wait", f"waiting for the server failed: {error!r}")
        elif spool is not None:
            NOTICES.say(f"run {self._name} is kept in {spool.folder}; send it with: penstock sync")

    def mark_preempting(self) -> None:
        """Say that this process is about to be stopped from outside."""
        self._record("state", state="preempting")

    def interject(self, action: Callable[[], None]) -> bool:
        """For a signal handler, `Writer.interject`; does nothing where this process does not speak
        for the run's state."""
        if self.disabled or self.finished or not self.is_primary:
            return True
        return self._writer.interject(action)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        code = error.code if isinstance(error, SystemExit) else None if error is None else 1
        self.finish(exit_code=code if isinstance(code, int) else int(code is not None))

    def __repr__(self) -> str:
        return f"<Run {self._name} ({self.project}/{self.id})>"

    def forget_after_fork(self) -> None:
        """In a forked child: this run goes on here with a spool of its own, once it is used."""
        self._parent = self._writer.id or self._parent
        self._writer.forget_after_fork()
        self._slow_path.forget_after_fork()
        self._starter = None

    @property
    def is_primary(self) -> bool:
        """Whether this process speaks for the run's state."""
        if self.settings.primary is not None:
            return self.settings.primary
        joined = self.settings.run_id is not None or self.settings.mode == "shared"
        return self._process == os.getpid() and not (joined and self.settings.rank > 0)

    def _begin(self) -> None:
        self._writer.spool()
        speaks = self.is_primary
        about = {
            "name": self.settings.name,
            # Worth less than any name that was given, now or when the run began.
            "default_name": self._name if speaks and not self.settings.name else None,
            "group": self.group,
            "job_type": self.job_type,
            "tags": list(self._tags) or None,
            "notes": self._notes,
            "sweep": self.settings.sweep_id,
            "host": os.uname().nodename,
            "program": program(),
            "python": ".".join(map(str, sys.version_info[:3])),
        }
        given = {key: value for key, value in about.items() if value is not None}
        self._recorder.say("run", **given)
        self._slow_path.repairs.flush()
        if speaks:  # else a rank that starts late would revive a run that has crashed
            self._record("state", state="running")
        NOTICES.say(f"run {self._name} of {self.project}: {self.url}")
        if not self._api_key() and self.settings.mode != "offline":
            NOTICES.warn(
                f"no key {self.settings.base_url}",
                f"no API key for {self.settings.base_url}; data is kept in {self.settings.root} "
                "and sent once you run: penstock login",
            )

    def _api_key(self) -> str:
        return self.settings.api_key or stored_key(self.settings.base_url) or ""

    def _open_spool(self) -> Spool:
        root = open_root(self.settings.root)
        meta = Meta(
            base_url=self.settings.base_url,
            api_key=self._api_key(),
            entity=self.entity,
            project=self.project,
            run=self.id,
            writer=os.urandom(16).hex(),
            writer_started=time.time_ns() // 1_000,
            rank=self.settings.rank,
            primary=self.is_primary,
            offline=self.settings.mode == "offline",
            ca_file=self.settings.ca_file,
            proxies=self.settings.proxies,
            host=os.uname().nodename,
            boot_id=boot_id(),
            pid=os.getpid(),
            version=__version__,
            parent=self._parent,
        )
        options = SpoolOptions(self.settings.spool_limit_bytes, self.settings.on_full)
        # The spool's thread must not start a shipper at the same time as this does.
        self._shipper_check_at = time.monotonic() + _SHIPPER_CHECK_S
        spool = Spool(root, meta, options, self._look)
        # After the spool is there: a shipper that is about to leave then sees it.
        self._ensure_shipper(root)
        return spool

    def _look(self, folder: Path) -> None:
        """Once a second, off the logging path: is a shipper there, and is it well?"""
        if self.settings.mode == "offline":
            return
        if time.monotonic() >= self._shipper_check_at:
            self._ensure_shipper(folder.parent)
        self._report(folder, load_progress(folder))

    def _ensure_shipper(self, root: Path) -> None:
        if self.settings.mode == "offline":
            return
        self._shipper_check_at = time.monotonic() + _SHIPPER_CHECK_S
        if self._starter is not None and self._starter.poll() is None:
            return
        try:
            self._starter = ensure_shipper(root, self.settings.spool_limit_bytes)
        except OSError as error:
            NOTICES.warn("shipper", f"the sending process cannot be started: {error}")

    def _report(self, folder: Path, progress: Progress) -> None:
        if progress.problem:
            name = f"{self.id} {progress.problem_code}"
            if name not in NOTICES.counts:
                what = "is kept and sent later"
                if progress.problem_code in _NOTHING_IS_TAKEN:
                    what = "is kept on this machine, not sent"
                NOTICES.warn(name, f"{progress.problem}; data {what}")
        for name, text in remarks(progress, folder):
            if f"{self.id} {name}" not in NOTICES.counts:
                NOTICES.warn(f"{self.id} {name}", text)

    def _close(self, exit_code: int) -> Spool | None:
        """Write the last records and let the spool go; returns it."""
        try:
            if self._process != os.getpid() and not self._writer.has_spool:
                return None  # a forked child that logged nothing
            if self.is_primary:
                state = "finished" if exit_code == 0 else "failed"
                self._record("state", state=state, exit_code=exit_code)
            spool = self._writer.spool()
            self._writer.close()
        except Exception as error:  # the seam: finish never raises
            NOTICES.warn("close", f"the spool could not be closed: {error!r}")
            return None
        if self._writer.dropped_rows:
            NOTICES.say(f"{self._writer.dropped_rows} logged rows were dropped in all")
        return spool

    def _wait(self, spool: Spool, deadline: float, *, quiet: bool) -> None:
        folder, begun = spool.folder, spool.first.sequence
        progress = Progress()
        try:
            while time.monotonic() < deadline:
                progress = load_progress(folder)
                self._report(folder, progress)
                if progress.is_stored(begun) or progress.problem_code == "no_key":
                    break
                if time.monotonic() >= self._shipper_check_at:
                    self._ensure_shipper(folder.parent)
                time.sleep(_FINISH_POLL_S)
        except KeyboardInterrupt:
            NOTICES.say("not waiting any longer")
        if self._starter is not None:  # it forked the shipper and is gone, or goes at once
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._starter.wait(_STARTER_TIMEOUT_S)
        if not progress.is_stored(begun):
            NOTICES.say(f"run {self._name}: {left_text(folder, load_progress(folder))}")
        elif not quiet:
            NOTICES.say(f"run {self._name} is stored: {self.url}")

    def _ignore(self, data: object, step: Any = None, commit: bool | None = None) -> None:
        """`log` of a disabled run."""


def _shared_id(settings: Settings) -> str | None:
    """The id that processes of one job agree on without talking: from the launcher's job id."""
    if settings.mode != "shared":
        return None
    for variable in ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"):
        job = os.environ.get(variable, "")
        if job and job != "none":
            return f"{variable.split('_')[0].lower()}-{job}"
    NOTICES.warn("shared", 'mode="shared" needs an id that all processes pass: set PENSTOCK_RUN_ID')
    return None
