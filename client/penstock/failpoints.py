"""Named places where a test may make a process fail: killed, stopped, slowed or erring, right there.

Off unless `PENSTOCK_FAILPOINTS` names a folder when the process starts; then `fail("worker.read")`
looks for a file of that name in it, removes it, and does what it says, once:

    kill            end this process as `kill -9` does
    stop            freeze this process as SIGSTOP does
    exit STATUS     leave at once with this status
    sleep SECONDS   hold up this thread
    error [TEXT]    raise OSError
    bug             raise what nobody expects

Several lines are done by as many calls, one each. A file that nobody reaches stays, so that a test
sees that its fault did not happen.

Calls that say what they are about, `fail("worker.batch", run, seq)`, obey lines that end in ` for WORDS`
where it begins with these words: every time, and the lines stay.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

__all__ = ["fail"]

_FOLDER = os.environ.get("PENSTOCK_FAILPOINTS", "")


def fail(name: str, *about: object) -> None:
    """Fail here if a test asks for it; `about` is what is being processed."""
    if _FOLDER:
        _fail(Path(_FOLDER) / name, [str(each) for each in about])


def _fail(path: Path, about: list[str]) -> None:
    fault = _standing(path, about) if about else _next(path)
    if fault:
        _do(path.name, fault)


def _standing(path: Path, about: list[str]) -> str:
    """What the file says about this, every time."""
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
    """The file's next line, which is taken out of it."""
    taken = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.rename(taken)  # of several processes that come here, one takes the fault
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
