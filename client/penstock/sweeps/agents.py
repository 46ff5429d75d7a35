"""`penstock.agent` and `penstock agent`: processes that run one trial of a sweep after another.

An agent reports its running run every few seconds. Every request can be repeated, so a lost answer
or an unreachable server costs only time.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from penstock.errors import Transient
from penstock.notices import NOTICES
from penstock.runs.assignment import Assignment
from penstock.settings import Settings
from penstock.sweeps.command import command_line
from penstock.sweeps.sweep_link import SweepLink

__all__ = ["StopTrial", "agent", "run_agent"]

_MAX_FIRST_FAILURES = 5
_MAX_WAIT_S = 30.0
_GRACE_S = 10.0


class StopTrial(BaseException):
    """Raised in a trial's function when the server ends it early."""


def agent(
    sweep_id: str,
    function: Callable[[], Any] | None = None,
    entity: str | None = None,
    project: str | None = None,
    count: int | None = None,
    **_: Any,
) -> None:
    """Run trials of a sweep until there are no more, at most `count`.

    `sweep_id` is `entity/project/id`, `project/id` or `id`. Each trial calls `function` in a thread
    of its own; `penstock.init()` inside it starts the trial's run with the trial's parameters as its
    config. Without a function the sweep's `command` is run. A function that raises fails its trial
    and the agent continues, unless the first five trials all fail. Raises PenstockError if the
    server refuses.
    """
    settings = Settings.resolve(None, {"entity": entity, "project": project})
    run_agent(sweep_id, settings, function, count)


def run_agent(
    sweep_id: str, settings: Settings, function: Callable[[], Any] | None, count: int | None
) -> int:
    """Like `agent`; returns the number of failed trials."""
    link = SweepLink(settings)
    try:
        place = link.place(sweep_id)
        registered = _patiently(lambda: link.add_agent(place))
        sweep = registered["sweep"]
        make: Callable[[Assignment], _Trial] = (
            _Call.of(function) if function is not None else _Command.of(sweep)
        )
        return _Agent(link, place, registered["agent"], make).work(count)
    finally:
        link.close()


class _Trial(Protocol):
    """A running trial."""

    def wait(self, seconds: float) -> bool:
        """Wait for its end for at most this long; returns whether it has ended."""

    def stop(self) -> None:
        """Stop it; may be called repeatedly."""

    @property
    def failed(self) -> bool: ...


class _Agent:
    """A running agent."""

    def __init__(
        self, link: SweepLink, place: list[str], name: str, make: Callable[[Assignment], _Trial]
    ) -> None:
        self._link = link
        self._place = place
        self._name = name
        self._make = make

    def work(self, count: int | None) -> int:
        done = failures = 0
        ended: list[str] = []
        while count is None or done < count:
            answer = self._heartbeat(ended=ended)
            ended = []
            if answer["exit"]:
                break
            trial = answer["trial"]
            if trial is None:
                time.sleep(answer["interval_s"])
                continue
            entity, project, sweep = self._place
            run = str(trial["run"])
            NOTICES.say(f"trial {run}: {trial['parameters']}")
            has_failed = self._try(
                Assignment(entity, project, sweep, run, trial["parameters"]), answer["interval_s"]
            )
            ended = [run]
            done += 1
            failures += has_failed
            if failures == done == _MAX_FIRST_FAILURES:
                NOTICES.say(f"the first {failures} trials all failed: stopping this agent")
                break
        if ended:
            self._heartbeat(ended=ended, wants=False)
        return failures

    def _try(self, assignment: Assignment, interval_s: float) -> bool:
        """Run one trial to its end; returns whether it failed."""
        trial = self._make(assignment)
        try:
            while not trial.wait(interval_s):
                # If the server is unreachable now, the next heartbeat reports it.
                with suppress(Transient):
                    answer = self._link.heartbeat(self._place, self._name, alive=[assignment.run])
                    if assignment.run in answer["stop"]:
                        NOTICES.say(f"stopping trial {assignment.run}")
                        trial.stop()
        except BaseException:
            trial.stop()
            trial.wait(_GRACE_S)
            raise
        return trial.failed

    def _heartbeat(self, *, ended: Collection[str], wants: bool = True) -> dict[str, Any]:
        return _patiently(
            lambda: self._link.heartbeat(self._place, self._name, ended=ended, wants=wants)
        )


class _Call:
    """Calls a function in its own thread, so that it can be stopped."""

    def __init__(self, function: Callable[[], Any], assignment: Assignment) -> None:
        self._function = function
        self._assignment = assignment
        self._lock = threading.Lock()
        self._is_in = False
        self.failed = False
        self._thread = threading.Thread(target=self._run, name=f"trial-{assignment.run}")
        self._thread.daemon = True
        self._thread.start()

    @classmethod
    def of(cls, function: Callable[[], Any]) -> Callable[[Assignment], _Trial]:
        return lambda assignment: cls(function, assignment)

    def wait(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        with self._lock:
            if self._is_in and self._thread.ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread.ident), ctypes.py_object(StopTrial)
                )

    def _run(self) -> None:
        from penstock.runs import session  # noqa: PLC0415  (sessions know of assignments)

        with _environment(self._assignment.environment):
            try:
                code = self._outcome()
            except StopTrial:
                code = 0
            self._leave()
            self.failed = code != 0
            current = session.current()
            if current is not None and not current.finished:
                session.finish(code)

    def _outcome(self) -> int:
        """The function's outcome as an exit code."""
        with self._lock:
            self._is_in = True
        try:
            self._function()
        except StopTrial:
            raise
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # the seam: one failed trial does not end the others
            traceback.print_exc()
            return 1
        return 0

    def _leave(self) -> None:
        """After this, nothing is raised in this thread any more."""
        while True:
            try:
                with self._lock:
                    self._is_in = False
                return
            except StopTrial:
                continue


class _Command:
    """Runs a command in its own process group."""

    def __init__(self, sweep: dict[str, Any], assignment: Assignment) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="penstock-trial-")
        words = command_line(
            sweep["command"], sweep["program"], assignment.parameters, Path(self._folder.name)
        )
        self._stopped_at: float | None = None
        self._process = subprocess.Popen(
            words, env={**os.environ, **assignment.environment}, start_new_session=True
        )

    @classmethod
    def of(cls, sweep: dict[str, Any]) -> Callable[[Assignment], _Trial]:
        return lambda assignment: cls(sweep, assignment)

    def wait(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._folder.cleanup()
        return True

    def stop(self) -> None:
        """Interrupt it like Ctrl-C; kill it if that has not helped after a while."""
        now = time.monotonic()
        if self._stopped_at is None:
            self._stopped_at = now
        waited = now - self._stopped_at
        number = (
            signal.SIGINT
            if waited < _GRACE_S
            else signal.SIGTERM
            if waited < 2 * _GRACE_S
            else signal.SIGKILL
        )
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    @property
    def failed(self) -> bool:
        return self._stopped_at is None and self._process.returncode != 0


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set these environment variables while the block runs."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _patiently(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Retry until there is an answer. Raises what the server refuses permanently."""
    wait_s = 1.0
    while True:
        try:
            return ask()
        except Transient as error:
            NOTICES.warn("agent", f"{error}; retrying")
            time.sleep(error.retry_after_s or wait_s * random.uniform(1, 1.25))  # noqa: S311
            wait_s = min(wait_s * 2, _MAX_WAIT_S)
