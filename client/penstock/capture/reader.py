"""The reader: takes what the training process prints, passes it on at once, and records it afterwards.

One loop without threads. Passing on comes first; lines are made of it while nothing is waiting to be
passed on, up to a bound. At rest it waits in poll() and costs nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from penstock.capture.cgroups import oom_kills
from penstock.capture.gathering import Gathering, start_gathering
from penstock.capture.lines import Line, StreamLines
from penstock.capture.rates import LineRate
from penstock.capture.recorded import RecordedRun
from penstock.capture.relay import CHUNK_BYTES, Ends, pass_on, take
from penstock.capture.streams import copy_window_size

__all__ = ["OutputReader"]

_MOST_PENDING_BYTES = 8 << 20
_PIECE_BYTES = 8 << 10
_WINDOW_S = 0.25
_AFTER_DEATH_S = 1.0
"""How long children that outlive their parent are still recorded."""
_WATCH_S = 2.0
_LAST_FACTS_S = 20.0
"""How long facts of a run that has ended are waited for."""


class _Printed(NamedTuple):
    stream: int
    data: bytes
    at: float
    at_us: int


class OutputReader:
    """Reads the streams of one training process until that ends or says that it leaves."""

    def __init__(
        self, streams: list[Ends], control: int, answers: int, link: int, pid: int
    ) -> None:
        self._streams = streams
        self._control, self._answers, self._link, self._pid = control, answers, link, pid
        os.set_blocking(control, False)
        self._next_number = 0
        self._lines = [StreamLines(each.name, self._number, LineRate()) for each in streams]
        self._pending: deque[_Printed] = deque()
        self._pending_bytes = 0
        self._runs: dict[str, RecordedRun] = {}
        self._ending: dict[str, RecordedRun] = {}
        """Runs that have ended, of which facts may still come."""
        self._gatherings: dict[int, Gathering] = {}
        self._heard = b""
        self._poller = select.poll()
        self._watched = _watch(pid)
        self._died_at: float | None = None
        self._is_left = False
        self._window_at = 0.0
        self._oom_kills = oom_kills()

    def run(self) -> None:
        """Until the training process has ended or left."""
        for ends in self._streams:
            self._poller.register(ends.read_end, select.POLLIN)
        self._poller.register(self._control, select.POLLIN)
        if self._watched is not None:
            self._poller.register(self._watched, select.POLLIN)
        self._answer("ready")
        while not self._is_over():
            self._turn()
        if not self._is_left:
            self._note_reason()
            self._end_runs()
        for ends in self._streams:  # from now on these are passed on by the one that stands by
            if ends.read_end >= 0:
                self._poller.unregister(ends.read_end)
            ends.close()
        os.close(self._link)
        self._await_facts()

    def _turn(self) -> None:
        ready = self._wait()
        if self._control in ready:
            self._listen()
        for index, ends in enumerate(self._streams):
            if ends.read_end in ready:
                self._take(index, ends)
        if self._watched in ready:
            self._note_death()
        for fd in ready & self._gatherings.keys():
            self._gathered(fd)
        if self._pending and (not ready or self._pending_bytes > _MOST_PENDING_BYTES):
            self._work()
        if not self._pending:
            self._record_due()

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _is_over(self) -> bool:
        if self._is_left or self._died_at is None:
            return self._is_left
        is_closed = all(ends.read_end < 0 for ends in self._streams)
        return is_closed or time.monotonic() > self._died_at + _AFTER_DEATH_S

    def _wait(self) -> set[int]:
        """The descriptors that are ready."""
        rest_s = 0.0 if self._pending else self._rest_s()
        timeout_ms = None if rest_s is None else int(max(0.0, rest_s) * 1_000) + (rest_s > 0)
        ready = {fd for fd, _ in self._poller.poll(timeout_ms)}
        if self._watched is None and not ready and not _is_there(self._pid):
            self._note_death()
        return ready

    def _rest_s(self) -> float | None:
        """How long there is nothing to do by itself; None: for ever."""
        now = time.monotonic()
        dues = [due for each in self._lines if (due := each.next_due()) is not None]
        dues += [each.due(self._is_held_back(each)) for each in self._gatherings.values()]
        if self._died_at is not None:
            dues.append(self._died_at + _AFTER_DEATH_S)
        if self._watched is None:
            dues.append(now + _WATCH_S)
        return min(dues) - now if dues else None

    def _take(self, index: int, ends: Ends) -> bool:
        """Read once and pass it on; False if there was nothing."""
        data = take(ends)
        if data is None:
            return False
        if data:
            self._keep_window_size(ends)
            pass_on(ends, data)
            self._pending.append(_Printed(index, data, time.monotonic(), time.time_ns() // 1_000))
            self._pending_bytes += len(data)
        if not data or ends.is_broken:
            self._poller.unregister(ends.read_end)
            ends.close()
            with contextlib.suppress(OSError):
                os.write(self._link, bytes([index]))
        return bool(data)

    def _keep_window_size(self, ends: Ends) -> None:
        if ends.original < 0 or time.monotonic() < self._window_at or not os.isatty(ends.original):
            return
        self._window_at = time.monotonic() + _WINDOW_S
        with contextlib.suppress(OSError):
            copy_window_size(ends.original, ends.read_end)

    def _drain(self) -> None:
        """Read, pass on and record all that was printed until now."""
        for index, ends in enumerate(self._streams):
            while ends.read_end >= 0 and self._take(index, ends):
                pass
        while self._pending:
            self._work()
        now, at_us = time.monotonic(), time.time_ns() // 1_000
        for each in self._lines:
            self._record(each.rest(now, at_us))

    def _work(self) -> None:
        """Turn a piece of what was printed into lines."""
        printed = self._pending.popleft()
        data = printed.data
        if len(data) > _PIECE_BYTES:
            self._pending.appendleft(printed._replace(data=data[_PIECE_BYTES:]))
            data = data[:_PIECE_BYTES]
        self._pending_bytes -= len(data)
        lines = self._lines[printed.stream]
        lines.feed(data, printed.at, printed.at_us)
        self._record(lines.due(printed.at, printed.at_us))

    def _record_due(self) -> None:
        now, at_us = time.monotonic(), time.time_ns() // 1_000
        for each in self._lines:
            self._record(each.due(now, at_us))
        for gathering in list(self._gatherings.values()):
            if now > gathering.until:
                self._end_gathering(gathering)
            elif now > gathering.number_until and self._is_held_back(gathering):
                self._runs[gathering.folder].begin(None)

    def _is_held_back(self, gathering: Gathering) -> bool:
        run = self._runs.get(gathering.folder)
        return run is not None and run.is_held_back

    def _record(self, lines: Iterator[Line]) -> None:
        for line in lines:
            for run in self._runs.values():
                run.add(line)

    def _listen(self) -> None:
        try:
            data = os.read(self._control, CHUNK_BYTES)
        except OSError:
            return
        if not data:  # it has ended, or is about to
            self._poller.unregister(self._control)
            self._died_at = self._died_at or time.monotonic()
            return
        *messages, self._heard = (self._heard + data).split(b"\n")
        for message in messages:
            self._obey(json.loads(message))

    def _obey(self, message: dict[str, Any]) -> None:
        if "open" in message:
            self._open(message)
        if "close" in message:
            self._drain()
            self._end_run(message["close"])
        if message.get("leave"):
            self._end_runs()
            self._leave()
        if "answer" in message:
            self._answer(f"done {message['answer']}")

    def _open(self, message: dict[str, Any]) -> None:
        folder = message["open"]
        # What was read and is no line yet may have been printed since, and is recorded here too.
        # Before the run has a spool: this process must have one thread yet to fork another.
        gathering = start_gathering(message, time.monotonic())
        try:
            run = RecordedRun(
                Path(folder),
                first_number=self._next_number,
                limit_bytes=message["limit_bytes"],
                goes_on=message["resumed"] and gathering is not None,
            )
        except (OSError, ValueError):  # its folder is gone
            if gathering is not None:
                os.close(gathering.fd)
            return
        self._runs[folder] = run
        if gathering is not None:
            self._gatherings[gathering.fd] = gathering
            self._poller.register(gathering.fd, select.POLLIN)

    def _gathered(self, fd: int) -> None:
        gathering = self._gatherings[fd]
        try:
            data = os.read(fd, CHUNK_BYTES)
        except OSError:
            data = b""
        if not data:
            self._end_gathering(gathering)
            return
        run = self._runs.get(gathering.folder) or self._ending.get(gathering.folder)
        for said in gathering.take(data):
            if run is not None:
                _put(run, said)

    def _end_gathering(self, gathering: Gathering) -> None:
        del self._gatherings[gathering.fd]
        self._poller.unregister(gathering.fd)
        os.close(gathering.fd)
        if self._is_held_back(gathering):
            self._runs[gathering.folder].begin(None)
        ended = self._ending.pop(gathering.folder, None)
        if ended is not None:
            ended.close()
        if not self._streams:
            self._end_run(gathering.folder)
            if not self._runs:
                self._leave()

    def _end_run(self, folder: str) -> None:
        run = self._runs.pop(folder, None)
        if run is None:
            return
        if any(each.folder == folder for each in self._gatherings.values()):
            self._ending[folder] = run
        else:
            run.close()

    def _end_runs(self) -> None:
        self._drain()
        for folder in list(self._runs):
            self._end_run(folder)

    def _leave(self) -> None:
        self._is_left = True
        self._answer("leaving")

    def _await_facts(self) -> None:
        """What is still being gathered about runs that have ended."""
        deadline = time.monotonic() + _LAST_FACTS_S
        while self._ending and time.monotonic() < deadline:
            ready = {fd for fd, _ in self._poller.poll(500)}
            for fd in ready & self._gatherings.keys():
                self._gathered(fd)
        for run in self._ending.values():
            run.close()

    def _note_death(self) -> None:
        """The training process has ended without saying so."""
        if self._watched is not None:
            self._poller.unregister(self._watched)
            os.close(self._watched)
        self._watched, self._pid = None, os.getpid()
        self._died_at = self._died_at or time.monotonic()

    def _note_reason(self) -> None:
        if oom_kills() > self._oom_kills:
            for run in self._runs.values():
                run.say({"exit_reason": "killed: the memory limit of its cgroup was reached"})

    def _answer(self, line: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._answers, f"{line}\n".encode())


def _put(run: RecordedRun, said: dict[str, Any]) -> None:
    """What was gathered about a run."""
    if "offset" in said:
        run.begin(said["offset"])
    run.say(said.get("facts", {}))
    for name, content in said.get("files", {}).items():
        with contextlib.suppress(OSError, ValueError):
            run.keep(name, content)


def _watch(pid: int) -> int | None:
    """A descriptor that is ready once this process has ended; None if the system has none."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
