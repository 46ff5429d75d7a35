"""Starts the shipper if none is running for a root: checks two locks and starts at most one process.

The shipper holds `shipper.lock` while it runs; `shipper.starting` is held from the decision to start
one until it runs, so that a hundred runs starting together start one process. A shipper of an older
version is asked to exit, and its successor waits for that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from penstock import __version__
from penstock.spool.claims import is_claimed
from penstock.spool.meta import pid_namespace
from penstock.spool.segment import standard_numbers_taken

__all__ = ["ensure_shipper", "is_shipper_running", "last_words", "shipper_of"]

_START_S = 10.0
_TAKE_OVER_S = 8.0


def is_shipper_running(root: Path) -> bool:
    fd = os.open(root / "shipper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return is_claimed(root)
    finally:
        os.close(fd)
    return False


def ensure_shipper(
    root: Path, limit_bytes: int = 2 << 30, *, is_bare: bool = False
) -> subprocess.Popen[bytes] | None:
    """Start a shipper unless one is running; returns its short-lived starter, for the caller to reap.

    `is_bare`: without this process's PYTHON* variables, which may prevent it from starting. Raises
    OSError.

    The shipper has its own session, log file and descriptors, so that it outlives the training process
    and holds none of its pipes open.
    """
    older = None
    if is_shipper_running(root):
        older = _older_shipper(root)
        if older is None:
            return None
    starting = root / "shipper.starting"
    starting_fd = _lock(starting)
    if starting_fd is None:
        # If it is held longer, it hangs, or a child forked at that moment has inherited the lock.
        if time.time() - starting.stat().st_mtime < _START_S:
            return None
        with standard_numbers_taken():
            starting_fd = os.open(starting, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.utime(starting_fd)
        if older is not None:
            with contextlib.suppress(OSError):  # it has exited, or belongs to another user
                os.kill(older, signal.SIGTERM)
        return _start(root, limit_bytes, starting_fd, take_over=older is not None, is_bare=is_bare)
    finally:
        os.close(starting_fd)


def shipper_of(root: Path) -> tuple[int, str]:
    """The process id and version of the shipper that holds `shipper.lock`; 0 for one in another container,
    0 and "" if the file does not say."""
    try:
        pid, version, namespace, *_ = [*(root / "shipper.lock").read_text().split(), "", "", ""]
    except OSError:
        return 0, ""
    is_here = namespace in ("", pid_namespace())
    return int(pid) if pid.isdigit() and is_here else 0, version


def _older_shipper(root: Path) -> int | None:
    """The process id of the running shipper if it is older than this version."""
    pid, version = shipper_of(root)
    if not pid or _numbers(version) >= _numbers(__version__):
        return None
    import psutil  # noqa: PLC0415  (slow to import, rarely needed)

    try:
        command = psutil.Process(pid).cmdline()
    except psutil.Error:
        return None
    # The id may be an older version's from another container, and name an unrelated process here.
    return pid if "penstock.shipper" in command else None


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock on this file; None if another process holds it."""
    with standard_numbers_taken():
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        pass  # a file system without locks: several may start, and all but one exit
    return fd


def last_words(root: Path) -> str:
    """The last line that the latest shipper wrote before it had a log: why it failed to start."""
    try:
        lines = (root / "shipper.err").read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:300] if lines else ""


def _start(
    root: Path, limit_bytes: int, starting_fd: int, *, take_over: bool, is_bare: bool
) -> subprocess.Popen[bytes]:
    package = str(Path(__file__).parents[2])
    inherited = {k: v for k, v in os.environ.items() if not (is_bare and k.startswith("PYTHON"))}
    environment = {
        **inherited,
        "PYTHONPATH": os.pathsep.join(filter(None, [package, inherited.get("PYTHONPATH")])),
        # The shipper uses no linear algebra: no threads or memory for it.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    command = [
        sys.executable or "python3", "-m", "penstock.shipper", str(root), "--detach",
        "--limit-bytes", str(limit_bytes), "--starting-fd", str(starting_fd),
    ]  # fmt: skip
    if take_over:
        command += ["--take-over", str(_TAKE_OVER_S)]
    log_fd = os.open(root / "shipper.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
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
