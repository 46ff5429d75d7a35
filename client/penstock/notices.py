"""The client's messages on stderr: each once, never an error.

After `init`, problems with the server, the network or the disk must not raise into the training
loop; they are reported here instead, and counted.
"""

from __future__ import annotations

import contextlib
import sys
import threading

__all__ = ["NOTICES", "Notices"]


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
            # A closed or full stderr must not stop a training run.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(text)
                sys.stderr.flush()

    def warn(self, name: str, message: str) -> None:
        """Count `name`; print the message the first time and at every power of ten."""
        with self._lock:
            count = self.counts[name] = self.counts.get(name, 0) + 1
        if count == 1:
            self.say(f"warning: {message}")
        elif count >= 10 and count == 10 ** (len(str(count)) - 1):
            self.say(f"warning: {message} ({count} times so far)")


NOTICES = Notices()
