"""Starts the shipper if none runs for a root: a check of two locks, and at most one process.

`shipper.lock` is held by the shipper while it runs, `shipper.starting` from the decision to start
one until it runs: a hundred runs that begin together start one process, not a hundred.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["ensure_shipper", "is_shipper_running"]

_START_S = 10.0


def is_shipper_running(root: Path) -> bool:
    fd = _lock(root / "shipper.lock")
    if fd is not None:
        os.close(fd)
    return fd is None


def ensure_shipper(root: Path, limit_bytes: int = 2 << 30) -> subprocess.Popen[bytes] | None:
    """Start a shipper unless one runs; returns its short-lived starter, which the caller reaps.

    The shipper has a session, a log file and descriptors of its own, so that it outlives the
    training and no pipe of the training waits for it.
    """
    if is_shipper_running(root):
        return None
    starting = root / "shipper.starting"
    starting_fd = _lock(starting)
    if starting_fd is None:
        # Held for longer, it hangs, or a child that was forked just then has inherited the lock.
        if time.time() - starting.stat().st_mtime < _START_S:
            return None
        starting_fd = os.open(starting, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.utime(starting_fd)
        return _start(root, limit_bytes, starting_fd)
    finally:
        os.close(starting_fd)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock on this file; None if another process holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        pass  # a file system without locks: then more than one may start, and all but one leave
    return fd


def _start(root: Path, limit_bytes: int, starting_fd: int) -> subprocess.Popen[bytes]:
    package = str(Path(__file__).parent.parent)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        # numpy's linear algebra is not used: no threads, no memory for it.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    command = [
        sys.executable or "python3", "-m", "penstock.shipper", str(root), "--detach",
        "--limit-bytes", str(limit_bytes), "--starting-fd", str(starting_fd),
    ]  # fmt: skip
    log_fd = os.open(root / "shipper.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        return subprocess.Popen(
            command,
            cwd=root,  # -m puts the working folder on the path: not the user's
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            start_new_session=True,
            pass_fds=(starting_fd,),
        )
    finally:
        os.close(log_fd)
