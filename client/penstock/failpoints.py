"""Named places at which a test can make a process fail: killed, stopped, slowed down or erring.

Off unless `PENSTOCK_FAILPOINTS` names a folder when the process starts; then `fail("worker.read")`
looks for a file of that name in it, removes it, and does what it says, once:

    kill            end this process as `kill -9` does
    stop            freeze this process as SIGSTOP does
    exit STATUS     exit at once with this status
    sleep SECONDS   block this thread
    error [TEXT]    raise OSError
    bug             raise an unexpected error

With several lines, each call takes one. A file that is never reached stays, so that a test sees that
its fault did not happen.

Calls with details, such as `fail("worker.batch", run, seq)`, obey lines that end in ` for WORDS` if
the details start with these words: every time, and the lines stay.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

__all__ = ["fail"]

_FOLDER = os.environ.get("PENSTOCK_FAILPOINTS", "")


def fail(name: str, *about: object) -> None:
    """Fail here if a test requests it; `about` is what is being processed."""
    if _FOLDER:
        _fail(Path(_FOLDER) / name, [str(each) for each in about])


def _fail(path: Path, about: list[str]) -> None:
    fault = _standing(path, about) if about else _next(path)
    if fault:
        _do(path.name, fault)


def _standing(path: Path, about: list[str]) -> str:
    """The file's standing instruction for this."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return ""
    for line in lines:
        fault, _, words = line.rpartition(" for ")
        if fault and about[: len(words.split())] == words.split():
            return fault
    return ""


def _next(path: Path) -> str:
    """Remove and return the file's next line."""
    taken = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.rename(taken)  # of several processes here, one takes the fault
    except FileNotFoundError:
        return ""
    first, _, rest = taken.read_text().strip().partition("\n")
    taken.unlink()
    if rest:
        path.write_text(rest)
    return first


def _do(name: str, fault: str) -> None:
    what, _, argument = fault.partition(" ")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what == "exit":
        os._exit(int(argument))
    elif what == "sleep":
        time.sleep(float(argument))
    elif what == "error":
        raise OSError(argument or f"failpoint {name}")
    elif what == "bug":
        raise RuntimeError(f"failpoint {name}")
    else:
        raise ValueError(f"failpoint {name}: unknown fault {fault!r}")
