"""Starts the shipper if none runs for a root: a check of a lock, and at most one process."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["ensure_shipper", "is_shipper_running"]


def is_shipper_running(root: Path) -> bool:
    fd = os.open(root / "shipper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def ensure_shipper(root: Path, limit_bytes: int = 2 << 30) -> subprocess.Popen[bytes] | None:
    """Start a shipper unless one runs; returns its short-lived starter, which the caller reaps.

    The shipper has a session, a log file and descriptors of its own, so that it outlives the
    training and no pipe of the training waits for it.
    """
    if is_shipper_running(root):
        return None
    package = str(Path(__file__).parent.parent)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        # numpy's linear algebra is not used: no threads, no memory for it.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    log_fd = os.open(root / "shipper.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        return subprocess.Popen(
            [
                sys.executable or "python3",
                "-m",
                "penstock.shipper",
                str(root),
                "--detach",
                "--limit-bytes",
                str(limit_bytes),
            ],
            cwd=root,  # -m puts the working folder on the path: not the user's
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            start_new_session=True,
        )
    finally:
        os.close(log_fd)
