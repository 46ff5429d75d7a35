"""What the client says to the person at the terminal: each thing once, on stderr, never an error.

After `init` nothing that goes wrong with a server, a network or a disk may raise into the training
loop; it is said here instead, and counted.
"""

from __future__ import annotations

import contextlib
import sys
import threading

__all__ = ["NOTICES", "Notices"]


class Notices:
    """Prints lines, and remembers what it has said by a short name."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.quiet = False
        self._lock = threading.RLock()  # a signal handler may log amid this

    def forget_after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()  # a signal handler may log amid this

    def say(self, message: str) -> None:
        if not self.quiet:
            # A closed or full stderr is no reason to stop a training run.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(f"penstock: {message}\n")
                sys.stderr.flush()

    def warn(self, name: str, message: str) -> None:
        """Count `name`; print the message the first time, then at every tenfold count."""
        with self._lock:
            count = self.counts[name] = self.counts.get(name, 0) + 1
        if count == 1:
            self.say(f"warning: {message}")
        elif count >= 10 and count == 10 ** (len(str(count)) - 1):
            self.say(f"warning: {message} ({count} times so far)")


NOTICES = Notices()
