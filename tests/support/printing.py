"""Scripts that print, with their output recorded: at a pipe, at a terminal, in a file."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence

from support.ledger import Ledger
from support.scripts import Scripts
from support.spools import wait_until

__all__ = ["RECORDED", "Printing", "beside_of"]

RECORDED = {"PENSTOCK_CONSOLE": "auto"}
_LIMIT_S = 60.0


class Printing:
    """Runs scripts whose run is `run`, and reads what the ledger has of their output."""

    def __init__(self, scripts: Scripts, ledger: Ledger) -> None:
        self.scripts, self.ledger = scripts, ledger
        self.environment = scripts.environment | RECORDED

    def run(
        self, code: str, *arguments: str, status: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done

    def at_terminal(self, code: str, answers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        """What a terminal of 40 × 133 shows; each prompt among `answers` gets its answer."""
        pid, fd = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 133, 0, 0))
            os.execve(sys.executable, [sys.executable, "-c", code], self.environment)  # noqa: S606
        shown, left, deadline = b"", list(answers), time.monotonic() + _LIMIT_S
        while time.monotonic() < deadline:
            if not select.select([fd], [], [], 1.0)[0]:
                continue
            try:
                shown += os.read(fd, 1 << 16)
            except OSError:  # everybody has closed it
                break
            if left and left[0][0] in shown:
                os.write(fd, left.pop(0)[1])
        os.close(fd)
        _, status = os.waitpid(pid, 0)
        assert status == 0, shown
        return shown

    def lines(self, run: str = "") -> list[tuple[str, str]]:
        """(stream, text) of each line, as it last was, except those of Penstock itself."""
        found: dict[tuple[str, int], tuple[str, str]] = {}
        for batch in self.ledger.batches():
            for record in batch.records:
                if record["t"] == "console" and run in ("", batch.run):
                    found[batch.writer, record["line"]] = record["stream"], record["text"]
        ordered = [found[place] for place in sorted(found)]
        return [line for line in ordered if not line[1].startswith("penstock: ")]

    def texts(self, run: str = "") -> list[str]:
        return [text for _, text in self.lines(run)]

    def wait_for(self, *texts: str) -> None:
        """Until lines with exactly these texts have arrived."""
        wait_until(lambda: set(texts) <= set(self.texts()), 20)


def beside_of(pid: int) -> list[int]:
    """The parts of the process beside this one: the one that stands by, then the reader."""
    found = []
    for name in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int):  # noqa: PTH208
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:  # noqa: PTH123
                command = file.read()
        except OSError:
            continue
        if b"penstock.capture" in command and f'"pid": {pid}}}'.encode() in command:
            found.append(int(name))
    return found
