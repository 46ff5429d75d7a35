"""`python -m penstock.system ROOT --name NAME`: measures this machine for the live runs under ROOT, then exits."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from penstock.spool.claims import Claim
from penstock.system.launch import FOLDER

_NICENESS = 10  # training and even sending have priority
_IDLE_EXIT_S = 60.0
_ELECTION_S = 1.0
"""Other processes hold the lock briefly, to check whether a sampler is running."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="penstock.system")
    parser.add_argument("root", type=Path)
    parser.add_argument("--name", required=True, help="which of the root's samplers this is")
    parser.add_argument("--idle-exit", type=float, default=_IDLE_EXIT_S, metavar="SECONDS")
    parser.add_argument("--detach", action="store_true", help="continue in the background")
    parser.add_argument("--starting-fd", type=int, help="holds a lock until this sampler runs")
    options = parser.parse_args()
    os.umask(0o077)
    os.nice(_NICENESS)
    if options.detach and os.fork():
        os._exit(0)  # the starter reaps this process; the sampler itself has no parent
    from penstock.system.sampler import Sampler  # noqa: PLC0415  (only the process that stays)

    with _elected(options.root / FOLDER, options.name) as is_elected:
        if options.starting_fd is not None:
            os.close(options.starting_fd)
        if not is_elected:
            return
        sampler = Sampler(options.root, options.name, idle_exit_s=options.idle_exit)
        signal.signal(signal.SIGTERM, lambda *_: sampler.leave())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sampler.run()


@contextlib.contextmanager
def _elected(folder: Path, name: str) -> Iterator[bool]:
    """Whether this process is the sampler now, until the end of the block."""
    folder.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    claim = None
    try:
        try:
            is_elected = _locked(fd)
        except OSError:  # a file system without locks
            claim = Claim(folder, on_loss=_leave, name=f"{name}.claim")
            is_elected = claim.take()
        if is_elected:
            with contextlib.suppress(
                OSError
            ):  # on a full disk the file stays without its process id
                os.truncate(fd, 0)
                os.write(fd, f"{os.getpid()}\n".encode())
        yield is_elected
    finally:
        if claim is not None:
            claim.release()
        os.close(fd)


def _locked(fd: int) -> bool:
    """Raises OSError if the file system has no locks."""
    deadline = time.monotonic() + _ELECTION_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)


def _leave() -> None:
    """As if another process had asked this sampler to."""
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
