"""Wakes the shipper at once: the training process writes a byte to a named pipe in the spool root.

Without it, as on file systems without pipes, the shipper notices new data a moment later. Writing
never blocks: without a listening shipper nothing is written.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import time
from pathlib import Path

__all__ = ["Bell", "ring"]

_NAME = "shipper.bell"
_MUCH = 4_096


def ring(root: Path, name: str = _NAME, message: bytes = b"!") -> bool:
    """Wake the shipper of `root`, or the process that listens at the bell `name`; returns whether one listens.
    Never blocks, never raises."""
    with contextlib.suppress(OSError):
        fd = os.open(root / name, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.write(fd, message)
                return True
        finally:
            os.close(fd)
    return False


class Bell:
    """The shipper's end, or that of the process whose bell `name` is."""

    def __init__(self, root: Path, name: str = _NAME) -> None:
        self.heard = b""
        """The messages with which it last rang."""
        self._fd = -1
        path = root / name
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, 0o600)
            # For writing too: without a writer, a pipe is at its end and select returns at once.
            fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                self._fd = fd
            else:
                os.close(fd)

    def wait(self, seconds: float) -> bool:
        """Wait at most this long for the bell; returns whether it rang."""
        if self._fd < 0:
            time.sleep(seconds)
            return False
        if not select.select([self._fd], [], [], seconds)[0]:
            return False
        with contextlib.suppress(OSError):
            self.heard = os.read(self._fd, _MUCH)
        return True

    def ring(self) -> None:
        """From a signal handler of the same process: make `wait` return."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self._fd, b"!")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
