"""Elects a root's shipper: the process that holds the lock on `shipper.lock`, or without locks a claim.

The file contains its process id and, on lines of their own, its version and where that id is valid: another
container of the same machine may read it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from penstock import __version__
from penstock.spool.claims import Claim
from penstock.spool.meta import pid_namespace

__all__ = ["hold_root"]

ELECTION_S = 1.0
"""Other processes hold the lock briefly, to check whether a shipper is running."""


@contextlib.contextmanager
def hold_root(root: Path, wait_s: float = ELECTION_S) -> Iterator[bool]:
    """Become the root's shipper; yields False if another process still is after `wait_s`."""
    fd = os.open(root / "shipper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    claim = None
    try:
        try:
            elected = _elected(fd, wait_s)
        except OSError:  # a file system without locks
            claim = Claim(root, on_loss=_leave)
            elected = claim.take()
        if elected:
            with contextlib.suppress(
                OSError
            ):  # on a full disk the file stays without its process id
                os.truncate(fd, 0)
                os.write(fd, f"{os.getpid()}\n{__version__}\n{pid_namespace()}\n".encode())
        yield elected
    finally:
        if claim is not None:
            claim.release()
        os.close(fd)


def _leave() -> None:
    """As if another process had asked this shipper to."""
    os.kill(os.getpid(), signal.SIGTERM)


def _elected(fd: int, wait_s: float) -> bool:
    """Raises OSError if the file system has no locks."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
