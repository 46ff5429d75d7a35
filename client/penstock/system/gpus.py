"""Asks a child process about the GPUs, without ever waiting long for it.

A driver call may hang, even so that its process cannot be killed, or crash. Then rows have no GPU metrics, it
is reported once, and another child is tried after a minute, then after two, up to an hour. A child that
cannot be killed is left alone, and none is started beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.system.gpu_child import LIBRARY_VARIABLE

__all__ = ["GpuReader", "has_gpus"]

_SIGNS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg", "/dev/kfd")
"""Files that a GPU driver makes: without one of them there is nothing to ask."""
_WAIT_S = 2.0
"""Eight GPUs take a third of a second; what comes later goes into the next row."""
_HUNG_S = 60.0
"""Without persistence mode, starting the driver takes seconds for each GPU."""
_FIRST_PAUSE_S, _MAX_PAUSE_S = 60.0, 3_600.0
_MAX_ANSWER_BYTES = 1 << 20
_REAP_S = 0.2


def has_gpus() -> bool:
    """Whether this machine may have GPUs that can be asked about."""
    return bool(os.environ.get(LIBRARY_VARIABLE)) or any(map(os.path.exists, _SIGNS))


class GpuReader:
    """`report` is called with the reason when the GPUs cannot be measured, once for each reason."""

    def __init__(
        self,
        report: Callable[[str], None],
        command: list[str] | None = None,
        *,
        hung_s: float = _HUNG_S,
        pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._report = report
        self._command = command or [sys.executable or "python3", "-m", "penstock.system.gpu_child"]
        self._hung_s = hung_s
        self._first_pause_s = self._pause_s = pause_s
        self._child: subprocess.Popen[bytes] | None = None
        self._undead: subprocess.Popen[bytes] | None = None
        self._start_at = 0.0
        self._asked_at: float | None = None
        self._buffer = b""
        self._reported: set[str] = set()

    def measure(self, wait_s: float = _WAIT_S) -> list[dict[str, Any]]:
        """One map for each GPU, as `Nvml.measure` returns them; empty while there is no answer."""
        now = time.monotonic()
        if self._child is None and not self._start(now):
            return []
        if self._asked_at is None:
            self._ask(now)
        answer = self._answer(now + wait_s)
        if answer is not None:
            return answer
        if self._asked_at is not None and time.monotonic() - self._asked_at > self._hung_s:
            self._give_up(f"the GPU driver has not answered for {self._hung_s:.0f} s")
        return []

    def close(self) -> None:
        """End the child, without waiting for one that hangs."""
        if self._child is not None:
            self._end(self._child)
            self._child = None

    def _start(self, now: float) -> bool:
        if self._undead is not None:
            if self._undead.poll() is None:
                return False
            self._undead = None
        if now < self._start_at:
            return False
        package = str(Path(__file__).parents[2])
        paths = filter(None, [package, os.environ.get("PYTHONPATH")])
        try:
            self._child = subprocess.Popen(
                self._command,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        except OSError as error:
            self._say(f"the process that asks the GPU driver cannot start: {error}")
            self._pause()
            return False
        self._buffer, self._asked_at = b"", None
        return True

    def _ask(self, now: float) -> None:
        if self._child is None or self._child.stdin is None:
            return
        try:
            self._child.stdin.write(b"\n")
            self._asked_at = now
        except OSError:
            self._give_up("the process that asks the GPU driver ended", is_over=True)

    def _answer(self, deadline: float) -> list[dict[str, Any]] | None:
        while self._child is not None and self._child.stdout is not None:
            fd = self._child.stdout.fileno()
            if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            part = os.read(fd, 1 << 16)
            self._buffer += part
            if not part or len(self._buffer) > _MAX_ANSWER_BYTES:
                self._give_up("the process that asks the GPU driver ended", is_over=True)
                return None
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer, self._asked_at = rest, None
                return self._gpus_in(line)
        return None

    def _gpus_in(self, line: bytes) -> list[dict[str, Any]]:
        try:
            answer = json.loads(line)
            gpus, problem = list(answer["gpus"]), str(answer["problem"])
        except (ValueError, TypeError, KeyError):
            self._give_up("the process that asks the GPU driver said something else")
            return []
        self._pause_s = self._first_pause_s
        if problem and not gpus:
            self._give_up(problem)
        return gpus

    def _give_up(self, reason: str, *, is_over: bool = False) -> None:
        """`is_over`: the child has ended by itself."""
        child, self._child, self._asked_at = self._child, None, None
        if child is not None:
            code = None
            if is_over:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = child.wait(_REAP_S)
            by = f" (signal {-code})" if code is not None and code < 0 else ""
            self._end(child)
            self._say(f"{reason}{by}")
        self._pause()

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        child.kill()
        try:
            child.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            self._undead = child

    def _pause(self) -> None:
        self._start_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)

    def _say(self, reason: str) -> None:
        if reason not in self._reported:
            self._reported.add(reason)
            self._report(reason)
