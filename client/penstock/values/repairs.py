"""Notices about values that were repaired, cut or left out: printed once per key, counted on the run.

The terminal gets one line per key with the location in the user's code; the run gets a field
`notice KEY`, as for the sender's own cuts (`penstock.wire.fitting`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from penstock.notices import NOTICES, call_site
from penstock.values.aside import reason_of

__all__ = ["Noter", "Repairs"]

_MAX_KEYS = 100
_MAX_PREVIEW_CHARS = 120


class Noter:
    """Called with where and reason. `fix` determines the location in the user's code, which happens
    only if there is a notice: call it before another thread may call this."""

    __slots__ = ("_repairs", "_site", "first")

    def __init__(self, repairs: Repairs) -> None:
        self.first = ""
        """The first notice; empty if there was none."""
        self._repairs = repairs
        self._site: str | None = None

    def __call__(self, where: str, reason: str) -> None:
        self.first = self.first or f"{where}: {reason}"
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

    def fault(self, what: str, error: BaseException) -> None:
        """Report an error in Penstock itself, which costs `what` and nothing else."""
        self.note(f"client.{what}", f"an error in Penstock itself: {_told(error)}", call_site())

    def note(self, where: str, reason: str, site: str, *, is_said: bool = False) -> None:
        """Report what happened to a value, or count it as a repeat. `is_said`: the terminal has
        it already."""
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
        if count == 1 and not is_said:
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


def _told(error: BaseException) -> str:
    """An error, and the line of ours at which it arose."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return reason_of(error)
    file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{reason_of(error)}, at {file}:{trace.tb_lineno}"


def _counted(reason: str, count: int) -> str:
    return reason if count == 1 else f"{reason} ({count} times)"


def _preview(where: str) -> str:
    text = "".join(" " if c < " " or c == "\x7f" else c for c in where[: 2 * _MAX_PREVIEW_CHARS])
    text = text if len(text) <= _MAX_PREVIEW_CHARS else f"{text[:_MAX_PREVIEW_CHARS]}…"
    return text.encode(errors="replace").decode()
