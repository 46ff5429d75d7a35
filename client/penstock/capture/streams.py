"""The training process's own output: a pipe or a terminal of ours in the place of stdout or stderr, and back.

A terminal is replaced by a pseudo-terminal, so that isatty, colours, progress bars and the size of the window
stay; anything else by a pipe. The process beside passes on what comes out of the other end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import termios
from collections.abc import Callable, Sequence
from typing import Any

__all__ = [
    "Redirected",
    "Wrapped",
    "copy_window_size",
    "flush_all",
    "flush_python",
    "redirected",
    "wrapped",
]

_PIPE_BYTES = 1 << 20
"""So much can be printed while the process beside starts, or is slow."""
_FIRST_SAVED = 10
"""Saved descriptors lie above those that scripts expect."""
_OPOST, _ECHO = 1, 3
"""Indices of tcgetattr."""


class Redirected:
    """File descriptors that lead to one place: whatever the process, its C code and its children print there."""

    def __init__(
        self, name: str, fds: Sequence[int], original: int, read_end: int, write_end: int
    ) -> None:
        self.name, self.original, self.read_end = name, original, read_end
        self._fds, self._write_end = fds, write_end
        self._identity = _identity(write_end)

    def begin(self) -> None:
        for fd in self._fds:
            os.dup2(self._write_end, fd, inheritable=True)
        self._write_end = _closed(self._write_end)

    def restore(self) -> None:
        """Unless somebody else has redirected it meanwhile, as tests and launchers do."""
        for fd in self._fds:
            with contextlib.suppress(OSError):
                if _identity(fd) == self._identity:
                    os.dup2(self.original, fd, inheritable=True)

    def drain(self) -> None:
        """Pass on what nobody has read, while both ends are here."""
        with contextlib.suppress(OSError):
            os.set_blocking(self.read_end, False)
            while data := os.read(self.read_end, 1 << 16):
                os.write(self.original, data)

    def let_go(self) -> None:
        """Close the end to read from: the process beside has it."""
        self.read_end = _closed(self.read_end)

    def close(self) -> None:
        self.let_go()
        self.original = _closed(self.original)
        self._write_end = _closed(self._write_end)


class Wrapped:
    """`sys.stdout` or `sys.stderr` as Python has it: in notebooks, where descriptors lead elsewhere."""

    original = -1

    def __init__(self, name: str, stream: Any, read_end: int, write_end: int) -> None:
        self.name, self.read_end = name, read_end
        self._stream, self._write_end = stream, write_end
        # IPython puts a `write` of its own there for each cell; a kernel's streams have an echo.
        self._slot = "echo" if hasattr(stream, "echo") else "write"
        self._own: Any = None
        self._before: Any = None
        """What somebody else has put there, such as the official client."""

    def begin(self) -> None:
        self._before = getattr(self._stream, "__dict__", {}).get(self._slot)
        write = self._stream.write

        def write_both(text: Any) -> Any:
            written = write(text)
            self._tap(text)
            return written

        self._own = _Echo(self._before, self._tap) if self._slot == "echo" else write_both
        setattr(self._stream, self._slot, self._own)

    def _tap(self, text: Any) -> None:
        try:
            os.write(self._write_end, text.encode(errors="replace"))
        except Exception:  # the seam: printing goes on in any case
            self.restore()

    def restore(self) -> None:
        with contextlib.suppress(AttributeError):  # it may have been replaced
            if getattr(self._stream, self._slot) is not self._own:
                return
            if self._before is None and self._slot == "write":
                del self._stream.write
            else:
                setattr(self._stream, self._slot, self._before)

    def drain(self) -> None:
        """It was printed already."""

    def let_go(self) -> None:
        self.read_end = _closed(self.read_end)

    def close(self) -> None:
        self.let_go()
        self._write_end = _closed(self._write_end)


class _Echo:
    """Where a kernel's stream also writes, and where it wrote before."""

    def __init__(self, before: Any, tap: Callable[[Any], None]) -> None:
        self._before, self._tap = before, tap

    def write(self, text: Any) -> None:
        self._tap(text)
        if self._before is not None:
            self._before.write(text)

    def flush(self) -> None:
        if self._before is not None:
            self._before.flush()


def redirected() -> list[Redirected]:
    """Taps on stdout and stderr, not begun yet. Raises OSError.

    If both lead to the same place, such as a terminal or a file with `2>&1`, there is one for both: the order of
    what is printed stays, and all of it counts as stdout.
    """
    wanted = {}
    for name, fd in (("stdout", 1), ("stderr", 2)):
        with contextlib.suppress(OSError):  # closed
            wanted[name] = (fd, _identity(fd))
    if len({place for _, place in wanted.values()}) < len(wanted):
        return [_redirected("stdout", (1, 2))]
    found: list[Redirected] = []
    try:
        found.extend(_redirected(name, (fd,)) for name, (fd, _) in wanted.items())
    except OSError:
        for each in found:
            each.close()
        raise
    return found


def _redirected(name: str, fds: Sequence[int]) -> Redirected:
    original = fcntl.fcntl(fds[0], fcntl.F_DUPFD_CLOEXEC, _FIRST_SAVED)
    try:
        ends = _terminal_like(original) if os.isatty(original) else _pipe()
    except (OSError, termios.error) as error:
        os.close(original)
        raise OSError(f"{name} cannot be redirected: {error}") from error
    return Redirected(name, fds, original, *ends)


def wrapped() -> list[Wrapped]:
    """Taps on Python's two streams, not begun yet. Raises OSError."""
    return [
        Wrapped(name, stream, *_pipe())
        for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr))
        if hasattr(stream, "write")
    ]


def copy_window_size(original: int, terminal: int) -> bytes:
    """Give a pseudo-terminal the size of a terminal; returns the size. Raises OSError."""
    size = fcntl.ioctl(original, termios.TIOCGWINSZ, bytes(8))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    return size


def flush_python() -> None:
    """What is still in Python's buffers goes to the descriptors."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or somebody's own object
            stream.flush()


def flush_all() -> None:
    """The same, and the buffers of the C library."""
    flush_python()
    with contextlib.suppress(Exception):  # a C library without these names
        import ctypes  # noqa: PLC0415  (slow to import, needed at the end only)

        library = ctypes.CDLL(None)
        for name in ("stdout", "stderr"):
            library.fflush(ctypes.c_void_p.in_dll(library, name))


def _pipe() -> tuple[int, int]:
    read_end, write_end = os.pipe()
    with contextlib.suppress(OSError, AttributeError):  # beyond the user's share, or not Linux
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return _high(read_end), _high(write_end)


def _terminal_like(original: int) -> tuple[int, int]:
    """The two ends of a pseudo-terminal that hands bytes on unchanged: the real one treats them."""
    read_end, write_end = os.openpty()
    attributes = termios.tcgetattr(original)
    attributes[_OPOST] &= ~termios.OPOST
    attributes[_ECHO] &= ~termios.ECHO
    termios.tcsetattr(write_end, termios.TCSANOW, attributes)
    copy_window_size(original, read_end)
    return _high(read_end), _high(write_end)


def _high(fd: int) -> int:
    """The same descriptor out of the way: one that is closed at the start, such as 0, is not taken."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_SAVED)
    os.close(fd)
    return moved


def _identity(fd: int) -> tuple[int, int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino, found.st_rdev


def _closed(fd: int) -> int:
    if fd >= 0:
        with contextlib.suppress(OSError):
            os.close(fd)
    return -1
