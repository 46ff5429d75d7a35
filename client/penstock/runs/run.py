"""A run: what `init` returns and what `log`, `config`, `summary` and `finish` act on.

After `init`, problems with server, network or disk never raise into the training loop: they are
reported once on stderr and counted, and the data stays in the spool.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from penstock.ids import new_run_id
from penstock.names import name_of
from penstock.notices import NOTICES
from penstock.runs.ending import Ending
from penstock.runs.lookup import TakenUp
from penstock.runs.metrics import AlertPace
from penstock.runs.observers import Observers
from penstock.runs.opening import NewWriter, say_what_is_missing
from penstock.runs.recording import FieldSender, Recorder
from penstock.runs.sending import Sending
from penstock.runs.start import BESIDE, FRESH, Start
from penstock.runs.telling import Telling
from penstock.runs.unfinished import note_started
from penstock.settings import RUN_SETTINGS, Settings, program
from penstock.spool.spool_folder import Spool
from penstock.spool.writer import Writer
from penstock.values.fields import Config, ConfigSelection, Summary
from penstock.values.slowpath import SlowPath

if TYPE_CHECKING:
    from penstock.runs.run_status import RunStatus

__all__ = ["Run"]

_FRESH = TakenUp(FRESH)


class Run(Ending, Telling):
    """One run of an experiment, created by `penstock.init`; usable as a context manager."""

    def __init__(
        self,
        settings: Settings,
        config: Any = None,
        *,
        taken_up: TakenUp = _FRESH,
        parent: str | None = None,
        selection: ConfigSelection | None = None,
        slow_path: SlowPath | None = None,
        on_process: Callable[[], None] = lambda: None,
        on_finish: Callable[[Run], None] = lambda run: None,
    ) -> None:
        """Opens the spool; leaves none behind if it raises.

        `taken_up`: what an earlier attempt left. `parent`: the writer of the process that started this run,
        if this one only joins it. `on_process` is called whenever a process starts to log, `on_finish` at the end.
        """
        self.settings = settings
        self.id = settings.run_id or new_run_id()
        self.project = settings.project
        self.entity = settings.known_entity
        self.group = settings.group or ""
        self.job_type = settings.job_type or ""
        self.start_time = time.time()
        """When this process started it, in seconds since 1970 UTC."""
        self.disabled = settings.mode == "disabled"
        self.finished = False
        self.is_kept = True
        """Whether there is a folder for its data."""
        known = taken_up.known
        self.resumed = taken_up.is_resumed
        """Whether it goes on with an earlier attempt."""
        self._name = settings.name or known.get("name") or name_of(self.id)
        self._notes = settings.notes if settings.notes is not None else known.get("notes") or None
        self._tags = settings.tags or tuple(known.get("tags") or ())
        self.starting_step = taken_up.step
        """The first step of this attempt."""
        self._start = taken_up.start
        self.root: Path | None = None
        """The folder with its spool."""
        self._dir = ""
        self._alert_pace = AlertPace()
        self._process = os.getpid() if parent is None else 0
        self._parent = parent or ""
        self._on_process, self._on_finish = on_process, on_finish
        self._observers = Observers()
        self._sending = Sending(settings, self.id)
        self._slow_path = slow_path or SlowPath(strict=settings.strict)
        self._slow_path.repairs.run = self.id
        self._writer = self._slow_path.writer = Writer(self._open_spool, self._slow_path)
        self._writer.step = taken_up.step
        self._recorder = Recorder(self._writer, self._slow_path, is_off=self.disabled)
        self._record = self._recorder.record
        is_fixed = settings.strict and not settings.allow_val_change
        self.config = Config(FieldSender(self._recorder, "config"), selection, is_fixed=is_fixed)
        self.summary = Summary(FieldSender(self._recorder, "summary"), self._writer.summary)
        self.config.know(known.get("config"))
        self.summary.know(known.get("summary"))
        if self.disabled:
            self.log = self._ignore  # type: ignore[method-assign]
        else:
            # Saves a call per row: the class's own `log` only carries the documentation.
            self.log = self._writer.log  # type: ignore[method-assign]
        if parent is None:
            self._begin_whole(config)

    def log(
        self,
        data: Mapping[str, Any],
        step: int | None = None,
        commit: bool | None = None,
        sync: bool | None = None,
    ) -> None:
        """Log a row of values; when this returns, they survive `kill -9` of the process.

        Without `step` the row gets the run's current step, which then increases by one; with
        `commit=False` it does not, so that the next call adds to the same step. With `step` the
        current step moves there (never back) and stays there unless `commit=True`. A row with a lower
        step is stored like any other; a key logged again at a step replaces the older value.

        Numbers become points; strings, booleans, lists and histograms become values. Nested dicts
        are flattened with dots. Tensors and arrays are read in the background, without waiting for a
        device. `sync` is an older argument of W&B's: nothing waits here.
        """
        self._writer.log(data, step, commit)

    @property
    def writer(self) -> str:
        """The id of this process's writer; empty if there is none."""
        return self._writer.id or self._parent

    @property
    def step(self) -> int:
        """The step of the next `log` call without `step`."""
        return self._writer.step

    @property
    def dir(self) -> str:
        """A folder of its own on this machine, made when first used and kept after the run."""
        if not self._dir:
            from penstock.runs.run_folder import run_folder  # noqa: PLC0415  (rarely needed)

            self._dir = run_folder(self.root, self.project, self.id)
        return self._dir

    sync_dir = dir

    def status(self) -> RunStatus:
        """How much of what was logged the server has stored."""
        from penstock.runs.run_status import status_of_run  # noqa: PLC0415  (rarely needed)

        return status_of_run(self._writer.spool().folder if self._writer.has_spool else None)

    def log_code(
        self,
        root: Any = ".",
        name: str | None = None,
        include_fn: Callable[..., bool] | None = None,
        exclude_fn: Callable[..., bool] | None = None,
    ) -> int:
        """Keep files of source code with the run; see `penstock.runs.code.log_code`."""
        from penstock.runs.code import log_code  # noqa: PLC0415  (rarely needed)

        return log_code(self, root, name, include_fn, exclude_fn)

    def finish(
        self,
        exit_code: int | None = None,
        quiet: bool | None = None,
        *,
        timeout_s: float | None = None,
    ) -> None:
        """End the run and wait until the server has stored everything, at most `timeout_s`.

        Anything left stays on disk and is sent later by the shipper.
        """
        if self.finished or self._writer.interrupted:
            return
        self.finished = True
        if not self.disabled:
            timeout_s = self._sending.patience_s if timeout_s is None else timeout_s
            try:
                self._end(exit_code or 0, timeout_s, quiet=bool(quiet or self.settings.quiet))
            except Exception as error:  # the seam: finish never raises
                NOTICES.warn("finish", f"the run could not be finished properly: {error!r}")
        self._on_finish(self)

    def end_at_once(self, exit_code: int) -> None:
        """End the run without waiting for anything, since this process is about to exit."""
        if self.finished or self.disabled:
            return

        def close() -> None:
            self._close(exit_code)

        self._writer.interject(close)
        self.finished = True

    def mark_preempting(self) -> None:
        """Record that this process is about to be stopped from outside."""
        self._record("state", state="preempting")

    def interject(self, action: Callable[[], None]) -> bool:
        """`Writer.interject` for a signal handler; does nothing if this process does not determine
        the run's state."""
        self._sending.is_preempted = True
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

    def __reduce__(self) -> Any:
        from penstock.runs.handover import received, sent  # noqa: PLC0415  (they know of runs)

        return received, (sent(self),)

    def __deepcopy__(self, memo: object) -> Run:
        return self

    def forget_after_fork(self) -> None:
        """In a forked child: continue this run with a spool of its own once it is used."""
        self._parent = self._writer.id or self._parent
        self._observers.forget_after_fork()
        self._writer.forget_after_fork()
        self._slow_path.forget_after_fork()
        self._sending.forget_after_fork()

    @property
    def is_of_this_process(self) -> bool:
        """Whether this process started it, rather than one that this process was forked from."""
        return self._process == os.getpid()

    @property
    def is_primary(self) -> bool:
        """Whether this process determines the run's state."""
        if self.settings.primary is not None:
            return self.settings.primary
        joined = self.settings.run_id is not None or self.settings.mode == "shared"
        return self.is_of_this_process and not (joined and self.settings.rank > 0)

    def _begin_whole(self, config: Any) -> None:
        """Start, or leave nothing behind."""
        try:
            if not self.disabled:
                self._begin()
            self.config.update(config)
        except BaseException:
            self.finished = True
            if self._writer.has_spool:
                spool = self._writer.spool()
                self._writer.close()
                spool.delete()
            raise

    def _begin(self) -> None:
        try:
            self._writer.spool()
        except OSError:
            self.log = self._drop  # type: ignore[method-assign]
            self.is_kept = False
            self._recorder.is_off = True
            return
        speaks = self.is_primary
        about = {
            **{name: getattr(self.settings, name) for name in RUN_SETTINGS},
            "tags": list(self.settings.tags) or None,
            # Yields to any given name, now or from when the run started; every rank has the same.
            "default_name": None if self.settings.name else self._name,
            "sweep": self.settings.sweep_id,
            "host": self.settings.label or self.settings.host_name or os.uname().nodename,
            "program": program(),
            "python": ".".join(map(str, sys.version_info[:3])),
        }
        given = {key: value for key, value in about.items() if value is not None}
        self._recorder.say("run", **given)
        self._slow_path.repairs.flush()
        self._recorder.state("running", is_primary=speaks)
        if speaks:
            note_started(self._writer.spool().root, self.settings, self.id, self._writer.id)
        self._observers.attach(self)
        NOTICES.say(f"run {self._name} of {self.project}: {self.url}")
        if self.settings.mode != "offline":
            say_what_is_missing(self.settings, self._writer.spool().root)

    def _open_spool(self) -> Spool:
        """Raises OSError if no folder works."""
        self._on_process()
        # The spool's thread must not start a shipper at the same time.
        self._sending.postpone()
        writer = NewWriter(
            self.settings,
            self.id,
            self._parent,
            is_primary=self.is_primary,
            start=Start(BESIDE) if self._parent else self._start,
        )
        spool = writer.open(self._sending.look)
        self.root = spool.root
        # After the spool exists: a shipper about to exit then sees it.
        self._sending.ensure(spool.root)
        return spool

    def _ignore(
        self, data: object, step: Any = None, commit: bool | None = None, sync: Any = None
    ) -> None:
        """`log` of a disabled run."""

    def _drop(
        self, data: object, step: Any = None, commit: bool | None = None, sync: Any = None
    ) -> None:
        """`log` if nothing can be stored: rows are counted, and step and summary still work."""
        writer = self._writer
        if isinstance(step, int):
            writer.step = max(writer.step, step + bool(commit))
        elif commit is not False:
            writer.step += 1
        writer.drop_row(data if isinstance(data, Mapping) else {})
