"""Elects a root's shipper: the process that holds the lock on `shipper.lock`.

The file contains its process id and, on a second line, its version.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from penstock import __version__

__all__ = ["hold_root"]

ELECTION_S = 1.0
"""Other processes hold the lock briefly, to check whether a shipper is running."""


@contextlib.contextmanager
def hold_root(root: Path, wait_s: float = ELECTION_S) -> Iterator[bool]:
    """Become the root's shipper; yields False if another process still is after `wait_s`."""
    fd = os.open(root / "shipper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        elected = _elected(fd, wait_s)
        if elected:
            with contextlib.suppress(
                OSError
            ):  # on a full disk the file stays without its process id
                os.truncate(fd, 0)
                os.write(fd, f"{os.getpid()}\n{__version__}\n".encode())
        yield elected
    finally:
        os.close(fd)


def _elected(fd: int, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
