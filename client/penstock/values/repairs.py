"""Notices about values that were repaired, cut or left out: printed once per key, counted on the run.

The terminal gets one line per key with the location in the user's code; the run gets a field
`notice KEY`, as for the sender's own cuts (`penstock.wire.fitting`).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

from penstock.notices import NOTICES

__all__ = ["Noter", "Repairs", "call_site"]

_HERE = str(Path(__file__).parents[1])
_MAX_KEYS = 100
_MAX_FRAMES = 60
_MAX_PREVIEW_CHARS = 120


class Noter:
    """Called with where and reason. `fix` determines the location in the user's code, which happens
    only if there is a notice: call it before another thread may call this."""

    __slots__ = ("_repairs", "_site")

    def __init__(self, repairs: Repairs) -> None:
        self._repairs = repairs
        self._site: str | None = None

    def __call__(self, where: str, reason: str) -> None:
        self.fix()
        self._repairs.note(where, reason, self._site or "")

    def fix(self) -> None:
        if self._site is None:
            self._site = call_site()


class Repairs:
    """One run's notices. `record(fields)` stores fields of the run and returns whether it could."""

    def __init__(self, record: Callable[[dict[str, str]], bool]) -> None:
        self.run = ""
        self._record = record
        self._lock = threading.RLock()  # a signal handler may log during this
        self._said: dict[str, tuple[str, int]] = {}
        self._unsaid: set[str] = set()
        self._more = 0

    def forget_after_fork(self) -> None:
        self._lock = threading.RLock()  # a signal handler may log during this

    def noter(self) -> Noter:
        """A `note` that reports the calling line in the user's code."""
        return Noter(self)

    def note(self, where: str, reason: str, site: str) -> None:
        """Report what happened to a value, or count it as a repeat."""
        where = _preview(where) or "value"
        with self._lock:
            before = self._said.get(where)
            if before is None and len(self._said) >= _MAX_KEYS:
                self._more += 1
                self._unsaid.add("more")
                return
            count = before[1] + 1 if before else 1
            self._said[where] = (before[0] if before else reason, count)
            is_due = count == 1 or (count >= 10 and count == 10 ** (len(str(count)) - 1))
            (self._unsaid.discard if is_due else self._unsaid.add)(where)
        if count == 1:
            place = f" ({site})" if site else ""
            NOTICES.warn(f"value {self.run} {where}", f"{where}: {reason}{place}")
        if is_due and not self._record({f"notice {where}": _counted(reason, count)}):
            self._unsaid.add(where)

    def flush(self) -> None:
        """Record the counts not recorded yet."""
        with self._lock:
            left, self._unsaid = self._unsaid, set()
            fields = {f"notice {w}": _counted(*self._said[w]) for w in left if w in self._said}
            if "more" in left:
                fields["notice more"] = f"{self._more} more values were cut or left out"
        if fields and not self._record(fields):
            self._unsaid |= left


def call_site() -> str:
    """`file:line` of the calling user code."""
    frame = sys._getframe(1)
    for _ in range(_MAX_FRAMES):
        file = frame.f_code.co_filename
        if not file.startswith(_HERE):
            return "" if file == threading.__file__ else f"{file}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""


def _counted(reason: str, count: int) -> str:
    return reason if count == 1 else f"{reason} ({count} times)"


def _preview(where: str) -> str:
    text = "".join(" " if c < " " or c == "\x7f" else c for c in where[: 2 * _MAX_PREVIEW_CHARS])
    text = text if len(text) <= _MAX_PREVIEW_CHARS else f"{text[:_MAX_PREVIEW_CHARS]}…"
    return text.encode(errors="replace").decode()
