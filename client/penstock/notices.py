"""The client's messages on stderr: each once, never an error.

After `init`, problems with the server, the network or the disk must not raise into the training
loop; they are reported here instead, and counted.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

__all__ = ["NOTICES", "Notices", "call_site"]

_HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")  # noqa: PTH100, PTH118, PTH120 (cheap)
_MAX_FRAMES = 60


class Notices:
    """Prints lines and remembers by a short name what has been said."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.quiet = False
        self.strict = False
        """Whether what would have no effect raises instead."""
        self._lock = threading.RLock()  # a signal handler may log during this

    def forget_after_fork(self) -> None:
        """For a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()  # a signal handler may log during this

    def say(self, message: str) -> None:
        self._write(f"penstock: {message}\n")

    def term(self, message: object, *, newline: bool, repeat: bool, prefix: str) -> None:
        """Print a line of the script's own; unless `repeat`, only the first time."""
        text = str(message)
        with self._lock:
            count = self.counts[f"term {text}"] = self.counts.get(f"term {text}", 0) + 1
        if repeat or count == 1:
            self._write(f"{prefix}{text}{chr(10) if newline else ''}")

    def _write(self, text: str) -> None:
        if not self.quiet:
            # A closed or full stderr must not stop a training run, nor an object of the user's in its place.
            with contextlib.suppress(Exception):
                _check(sys.stderr)
                sys.stderr.write(text)
                sys.stderr.flush()

    def warn(self, name: str, message: str, *, is_located: bool = False) -> None:
        """Count `name`; print the message the first time and at every power of ten. `is_located`: with the
        line of the user's code that led to it."""
        with self._lock:
            count = self.counts[name] = self.counts.get(name, 0) + 1
        if count != 1 and (count < 10 or count != 10 ** (len(str(count)) - 1)):
            return
        if is_located and (site := call_site()):
            message = f"{message} ({site})"
        self.say(f"warning: {message}" + (f" ({count} times so far)" if count > 1 else ""))


def _check(stream: object) -> None:
    """Raises OSError if the stream's file is closed: what is written would be left in its buffer, and Python
    would exit with status 120."""
    try:
        number = stream.fileno()  # type: ignore[attr-defined]
    except Exception:  # one without a file, such as a notebook's
        return
    os.fstat(number)


def call_site() -> str:
    """`file:line` of the user's code that called; empty if none did, as in a thread of our own."""
    frame = sys._getframe(1)
    for _ in range(_MAX_FRAMES):
        file = frame.f_code.co_filename
        if not file.startswith(_HERE):
            return "" if file == threading.__file__ else f"{file}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""


NOTICES = Notices()
