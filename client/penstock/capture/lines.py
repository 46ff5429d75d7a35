"""Bytes that a process prints become numbered lines, as a terminal would show them. Pure: clocks are arguments.

A progress bar is one line that changes: what comes after a carriage return replaces what was there. So are
several bars below each other, whose output moves the cursor up. Colours stay in the text; other escape
sequences do not.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from penstock.capture.rates import LineRate

__all__ = ["MAX_LINE_CHARS", "Line", "StreamLines"]

MAX_LINE_CHARS = 2**20
"""As `penstock.wire` has it, which takes long to import; a test compares the two."""
REDRAW_S = 2.0
"""How often a line that goes on changing is recorded."""
_FIRST_S = 0.3
"""When a line is recorded that has not ended yet, such as a question."""
_WINDOW = 64
"""How many lines the cursor can go up."""
_MAX_ESCAPE_CHARS = 4_096

_MARK = re.compile(
    r"\x1b\[[0-9;:]*m"  # a colour
    r"|\n|\r+|\x08+"
    r"|\x1b\[([0-?]*)[ -/]*([@-~])"  # any other control sequence
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links
    r"|\x1b[^\[\]]"
)
_SPECIAL = re.compile(r"[\r\x08\x1b]")
_BEGUN_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?)?\Z")


class Line(NamedTuple):
    """`number` counts the lines of all streams; `at_us`: when its first character came, since 1970."""

    number: int
    stream: str
    at_us: int
    text: str


class _Row:
    """A line that can still change."""

    __slots__ = ("at_us", "chars", "due", "is_cut", "is_ended", "is_recorded", "number", "parts")

    def __init__(self, number: int, at_us: int) -> None:
        self.number, self.at_us = number, at_us
        self.parts: list[str] = []
        self.chars = 0
        self.is_cut = self.is_ended = self.is_recorded = False
        self.due: float | None = None
        """When to record its present text; None: it has not changed."""

    def clear(self) -> None:
        self.parts, self.chars, self.is_cut = [], 0, False

    def add(self, text: str) -> None:
        room = MAX_LINE_CHARS - self.chars
        if len(text) > room:
            text, self.is_cut = text[: max(room, 0)], True
        if text:
            self.parts.append(text)
            self.chars += len(text)

    def take_back(self, count: int) -> None:
        text = "".join(self.parts)[: max(0, self.chars - count)]
        self.parts, self.chars = [text], len(text)

    @property
    def text(self) -> str:
        if not self.is_cut:
            return "".join(self.parts)
        note = " … (cut)"
        return "".join(self.parts)[: MAX_LINE_CHARS - len(note)] + note


class StreamLines:
    """The lines of one stream. `next_number()` numbers them, across streams."""

    def __init__(self, stream: str, next_number: Callable[[], int], rate: LineRate) -> None:
        self.stream = stream
        self._next_number = next_number
        self._rate = rate
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._escape = ""
        self._rows: list[_Row] = []
        self._at = 0
        """The cursor's row; behind the last one if nothing is there yet."""
        self._is_overwriting = False
        """Whether the cursor is in a row again: what comes next replaces its text."""
        self._changed: dict[int, _Row] = {}

    def feed(self, data: bytes, now: float, at_us: int) -> None:
        """Take bytes in, cut wherever they may be. `now`: monotonic, in s; `at_us`: µs since 1970."""
        if not self._rate.admits(data, now):
            self._decoder.reset()
            self._escape = ""
            return
        if self._rate.left_out_lines:
            if self._rate.is_in_line:
                data = data[data.find(b"\n") + 1 :]
                self._rate.left_out_lines += 1
            self._say_left_out(now, at_us)
        text = self._escape + self._decoder.decode(data)
        self._escape = ""
        if _SPECIAL.search(text) is None:
            self._put_plain(text, now, at_us)
        else:
            begun = _BEGUN_ESCAPE.search(text)
            if begun is not None and len(text) - begun.start() <= _MAX_ESCAPE_CHARS:
                text, self._escape = text[: begun.start()], text[begun.start() :]
            self._put_any(text, now, at_us)
        self._forget_old()

    def due(self, now: float, at_us: int) -> Iterator[Line]:
        """Lines to record now: those that ended, and changed ones from time to time."""
        if self._rate.left_out_lines and self._rate.is_open(now):
            self._say_left_out(now, at_us)
        # In their order; nearly always all of them are due.
        for row in list(self._changed.values()):
            if row.due is not None and row.due <= now:
                row.due = None
                row.is_recorded = True
                del self._changed[row.number]
                yield Line(row.number, self.stream, row.at_us, row.text)

    def rest(self, now: float, at_us: int) -> Iterator[Line]:
        """All that is not recorded yet, since nothing more may come."""
        if self._rate.left_out_lines:
            self._say_left_out(now, at_us)
        for row in self._changed.values():
            row.due = now
        yield from self.due(now, at_us)

    def next_due(self) -> float | None:
        """When to ask again; None: not before something is printed."""
        dues = [row.due for row in self._changed.values() if row.due is not None]
        if self._rate.left_out_lines:
            dues.append(self._rate.opens_at)
        return min(dues, default=None)

    def _put_plain(self, text: str, now: float, at_us: int) -> None:
        first, *others = text.split("\n")
        self._write(first, now, at_us)
        for other in others:
            self._next_row(now, at_us)
            self._write(other, now, at_us)

    def _put_any(self, text: str, now: float, at_us: int) -> None:
        end = 0
        for found in _MARK.finditer(text):
            self._write(text[end : found.start()], now, at_us)
            end = found.end()
            mark = found[0]
            if mark == "\n":
                self._next_row(now, at_us)
            elif mark[0] == "\r":
                self._is_overwriting = True
            elif mark[0] == "\x08":
                self._take_back(len(mark), now)
            elif mark[-1] == "m" and found[2] is None:
                self._write(mark, now, at_us)
            elif found[2] is not None:
                self._obey(found[2], found[1], now)
        self._write(text[end:], now, at_us)

    def _write(self, text: str, now: float, at_us: int) -> None:
        if not text:
            return
        row = self._row(at_us)
        if self._is_overwriting:
            self._is_overwriting = False
            row.clear()
        row.add(text)
        self._note(row, now)

    def _next_row(self, now: float, at_us: int) -> None:
        row = self._row(at_us)
        if not row.is_ended:
            row.is_ended = True
            self._note(row, now, at_once=True)
        self._at += 1
        self._is_overwriting = self._at < len(self._rows)

    def _take_back(self, count: int, now: float) -> None:
        if self._at < len(self._rows) and not self._is_overwriting:
            self._rows[self._at].take_back(count)
            self._note(self._rows[self._at], now)

    def _obey(self, command: str, parameters: str, now: float) -> None:
        """A control sequence other than a colour: moves of the cursor by rows, and erasing."""
        count = int(parameters) if parameters.isdecimal() and len(parameters) < 4 else 0
        if command in "AF":
            self._go_to(self._at - max(count, 1))
        elif command in "BE":
            self._go_to(self._at + max(count, 1))
        elif command == "G":
            self._is_overwriting = self._is_overwriting or count <= 1
        elif command == "K" and (count == 2 or (count == 0 and self._is_overwriting)):
            self._erase(self._at, self._at + 1, now)
        elif command == "J" and count == 0 and self._is_overwriting:
            self._erase(self._at, len(self._rows), now)

    def _go_to(self, row: int) -> None:
        self._at = min(max(row, 0), len(self._rows))
        self._is_overwriting = self._at < len(self._rows)

    def _erase(self, begin: int, end: int, now: float) -> None:
        for row in self._rows[begin:end]:
            row.clear()
            self._note(row, now)

    def _row(self, at_us: int) -> _Row:
        if self._at >= len(self._rows):
            self._at = len(self._rows)
            self._rows.append(_Row(self._next_number(), at_us))
            self._is_overwriting = False
        return self._rows[self._at]

    def _note(self, row: _Row, now: float, *, at_once: bool = False) -> None:
        """It has changed."""
        if at_once and not row.is_recorded:
            row.due = now
        elif row.due is None:
            row.due = now + (REDRAW_S if row.is_recorded else _FIRST_S)
        elif at_once:
            row.due = min(row.due, now + REDRAW_S)
        self._changed[row.number] = row

    def _say_left_out(self, now: float, at_us: int) -> None:
        row = _Row(self._next_number(), at_us)
        row.add(self._rate.said())
        row.is_ended = True
        self._rows.append(row)
        self._at = len(self._rows)
        self._is_overwriting = False
        self._note(row, now, at_once=True)

    def _forget_old(self) -> None:
        """Rows far above the cursor change no more."""
        most = self._at - _WINDOW
        if most > _WINDOW:
            for row in self._rows[:most]:
                if row.due is not None:
                    row.due = 0.0
            del self._rows[:most]
            self._at -= most
