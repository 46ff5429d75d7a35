"""What became of values that could not be taken as they are: said once each, counted on the run.

The terminal gets one line per key, with the place in the user's code; the run gets a field
`notice KEY`, as the sender's own cuts do (`penstock.wire.fitting`).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

from penstock.notices import NOTICES

__all__ = ["Repairs", "call_site"]

_HERE = str(Path(__file__).parent)
_MAX_KEYS = 100
_MAX_FRAMES = 60
_SHOWN_CHARS = 120


class Repairs:
    """One run's. `record(fields)` keeps fields of the run, and says whether it could."""

    def __init__(self, record: Callable[[dict[str, str]], bool]) -> None:
        self.run = ""
        self._record = record
        self._lock = threading.Lock()
        self._said: dict[str, tuple[str, int]] = {}
        self._unsaid: set[str] = set()
        self._more = 0

    def forget_after_fork(self) -> None:
        self._lock = threading.Lock()

    def noter(self, site: str = "") -> Callable[[str, str], None]:
        """`note` for what came from one place in the user's code; empty: where the call is made."""
        site = site or call_site()
        return lambda where, reason: self.note(where, reason, site)

    def note(self, where: str, reason: str, site: str) -> None:
        """Say what became of a value, or count that it happened again."""
        where = _shown(where) or "value"
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
        """Record the counts that were not recorded yet."""
        with self._lock:
            left, self._unsaid = self._unsaid, set()
            fields = {f"notice {w}": _counted(*self._said[w]) for w in left if w in self._said}
            if "more" in left:
                fields["notice more"] = f"{self._more} more values were cut or left out"
        if fields and not self._record(fields):
            self._unsaid |= left


def call_site() -> str:
    """`file:line` of the user's code that called us."""
    frame = sys._getframe(1)
    for _ in range(_MAX_FRAMES):
        if not frame.f_code.co_filename.startswith(_HERE):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""


def _counted(reason: str, count: int) -> str:
    return reason if count == 1 else f"{reason} ({count} times)"


def _shown(where: str) -> str:
    text = "".join(" " if c < " " or c == "\x7f" else c for c in where[: 2 * _SHOWN_CHARS])
    text = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
    return text.encode(errors="replace").decode()
