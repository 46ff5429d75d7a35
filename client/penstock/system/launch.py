"""Starts the sampler of a root unless one is running, and rings its bell: cheap enough for training processes.

The sampler holds the lock on its file in `ROOT/system` while it runs, or a claim where the file system has no
locks. A second lock is held from the decision to start one until it runs, so that a hundred ranks starting
together start one process.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from penstock.spool.bell import ring
from penstock.spool.claims import is_claimed

__all__ = ["FOLDER", "call", "ensure_sampler", "is_sampler_running"]

FOLDER = "system"
_START_S = 10.0


def call(root: Path, sampler: str, message: str) -> bool:
    """Tell the sampler `new` or `end WRITER`; returns whether one listens. Never blocks, never raises."""
    return ring(root / FOLDER, f"{sampler}.bell", f"{message}\n".encode())


def is_sampler_running(root: Path, sampler: str) -> bool:
    """Raises OSError if the folder cannot be written."""
    fd = _opened(root / FOLDER / f"{sampler}.lock")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return is_claimed(root / FOLDER, f"{sampler}.claim")
    finally:
        os.close(fd)
    return False


def ensure_sampler(
    root: Path, sampler: str, *, is_bare: bool = False
) -> subprocess.Popen[bytes] | None:
    """Start a sampler unless one is running; returns its short-lived starter, for the caller to reap.

    `is_bare`: without this process's PYTHON* variables, which may prevent it from starting. Raises OSError.
    """
    (root / FOLDER).mkdir(mode=0o700, exist_ok=True)
    if is_sampler_running(root, sampler):
        return None
    starting = root / FOLDER / f"{sampler}.starting"
    fd = _opened(starting)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # If it is held longer, it hangs, or a child forked at that moment has inherited the lock.
            if time.time() - starting.stat().st_mtime < _START_S:
                return None
        except OSError:
            pass  # several may start, and all but one exit
        os.utime(fd)
        return _start(root, sampler, fd, is_bare=is_bare)
    finally:
        os.close(fd)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _start(root: Path, sampler: str, starting_fd: int, *, is_bare: bool) -> subprocess.Popen[bytes]:
    package = str(Path(__file__).parents[2])
    inherited = {k: v for k, v in os.environ.items() if not (is_bare and k.startswith("PYTHON"))}
    paths = filter(None, [package, inherited.get("PYTHONPATH")])
    environment = {**inherited, "PYTHONPATH": os.pathsep.join(paths)}
    command = [
        sys.executable or "python3", "-m", "penstock.system", str(root),
        "--name", sampler, "--detach", "--starting-fd", str(starting_fd),
    ]  # fmt: skip
    log_fd = os.open(
        root / FOLDER / f"{sampler}.err",
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
        0o600,
    )
    try:
        return subprocess.Popen(
            command,
            cwd=root,  # -m adds the working folder to the path: not the user's
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            start_new_session=True,
            pass_fds=(starting_fd,),
        )
    finally:
        os.close(log_fd)
