"""The process beside: started once per training process that records something by itself, and told what to do.

It is talked to in lines of JSON over a pipe, and answers over another one. Should it die, which a thread that
waits for its answers sees at once, output goes to where it went before. Nothing here waits without a limit.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock.capture.streams import Redirected, Wrapped
from penstock.notices import NOTICES

__all__ = ["Beside"]

_CONTROL_BYTES = 1 << 20
_STARTER_S = 10.0


class Beside:
    """One such process, and the streams that go through it."""

    def __init__(self, streams: Sequence[Redirected | Wrapped], folder: Path) -> None:
        """`folder` is a spool's, where its last words go. Raises OSError; streams are then as before."""
        self._streams = streams
        self._lock = threading.RLock()  # a signal handler may finish a run
        self._answers: dict[int, threading.Event] = {}
        self._asked = 0
        self._is_ready = self._is_leaving = self._is_gone = False
        control, self._control = os.pipe()
        self._answer_end, answers = os.pipe()
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self._control, fcntl.F_SETPIPE_SZ, _CONTROL_BYTES)
        os.set_blocking(self._control, False)
        try:
            self._starter = _start(streams, control, answers, folder)
            threading.Thread(target=self._listen, name="penstock-beside", daemon=True).start()
        except (OSError, ValueError, RuntimeError, subprocess.SubprocessError) as error:
            os.close(self._control)
            os.close(self._answer_end)
            raise OSError(str(error)) from error
        finally:
            os.close(control)
            os.close(answers)
        for stream in streams:
            stream.begin()

    @property
    def is_gone(self) -> bool:
        return self._is_gone

    def tell(self, message: dict[str, Any]) -> bool:
        """Send a message; False if it cannot be heard."""
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            if self._is_gone:
                return False
            try:
                return os.write(self._control, line) == len(line)
            except OSError:  # it has died, or it does not listen
                return False

    def ask(self, message: dict[str, Any], timeout_s: float) -> bool:
        """Send a message and wait until it is done; False if that takes too long."""
        done = threading.Event()
        with self._lock:
            self._asked += 1
            number = self._asked
            self._answers[number] = done
        is_done = self.tell({**message, "answer": number}) and done.wait(timeout_s)
        self._answers.pop(number, None)
        return is_done and not self._is_gone

    def leave(self, message: dict[str, Any], timeout_s: float) -> None:
        """Print as before again. All that was printed until now is passed on first, in bounded time."""
        self._is_leaving = True
        for stream in self._streams:
            stream.restore()
        self.ask(message, timeout_s)
        self._close()

    def forget_after_fork(self) -> None:
        """In a forked child, whose output the process beside goes on to read."""
        self._is_gone = self._is_leaving = True
        for fd in (self._control, self._answer_end):
            with contextlib.suppress(OSError):
                os.close(fd)
        for stream in self._streams:
            if isinstance(stream, Wrapped):
                stream.restore()
            stream.close()

    def _listen(self) -> None:
        pending = b""
        while True:
            try:
                data = os.read(self._answer_end, 4_096)
            except OSError:
                break
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self._hear(line.decode(errors="replace"))
        with contextlib.suppress(OSError):
            os.close(self._answer_end)
        self._lose()

    def _hear(self, line: str) -> None:
        what, _, number = line.partition(" ")
        if what == "ready":
            self._is_ready = True
            for stream in self._streams:
                stream.let_go()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._starter.wait(_STARTER_S)
        elif what == "done" and number.isdecimal():
            event = self._answers.get(int(number))
            if event is not None:
                event.set()
        elif what == "leaving":
            self._is_leaving = True

    def _lose(self) -> None:
        """It has died, or it left as it should."""
        with self._lock:
            self._is_gone = True
        for stream in self._streams:
            stream.restore()
            if not self._is_ready:
                stream.drain()
        if not self._is_leaving:
            for stream in self._streams:
                stream.let_go()
            NOTICES.warn(
                "capture",
                "the process that records console output has died: what is printed from now on is not"
                " recorded; restart the run to record it, or set PENSTOCK_CONSOLE=off",
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._starter.wait(_STARTER_S)
        for event in list(self._answers.values()):
            event.set()

    def _close(self) -> None:
        with self._lock:
            self._is_gone = True
            with contextlib.suppress(OSError):
                os.close(self._control)
        for stream in self._streams:
            stream.close()


def _start(
    streams: Sequence[Redirected | Wrapped], control: int, answers: int, folder: Path
) -> subprocess.Popen[bytes]:
    """The starter: it forks and exits, so that the process beside is no child of the training process."""
    described = {
        "streams": [[each.name, each.read_end, each.original] for each in streams],
        "control": control,
        "answers": answers,
        "pid": os.getpid(),
    }
    passed = [control, answers]
    for each in streams:
        passed += [fd for fd in (each.read_end, each.original) if fd >= 0]
    package = str(Path(__file__).parents[2])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
    }
    errors = os.open(folder / "capture.err", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable or "python3", "-m", "penstock.capture", json.dumps(described)],
            cwd=folder.parent,  # -m adds the working folder to the path: not the user's
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            start_new_session=True,  # not ended by Ctrl-C, nor with the training's group
            pass_fds=passed,
        )
    finally:
        os.close(errors)
