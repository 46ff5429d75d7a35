"""What is printed becomes lines as a terminal shows them, however the bytes are cut."""

from __future__ import annotations

import itertools
import random

import pytest

from penstock.capture import lines as lines_module
from penstock.capture import recorded
from penstock.capture.lines import MAX_LINE_CHARS, StreamLines
from penstock.capture.rates import BYTES_PER_S, LINES_PER_S, MOST_LINES, LineRate
from penstock.wire import SYSTEM_RANK
from penstock.wire.field_types import MAX_TEXT_CHARS


class Screen:
    """A stream whose lines are kept as they were last recorded."""

    def __init__(self) -> None:
        count = itertools.count()
        self.stream = StreamLines("stdout", lambda: next(count), LineRate())
        self.found: dict[int, str] = {}
        self.records = 0

    def print(self, data: bytes, now: float = 0.0) -> None:
        self.stream.feed(data, now, 1)
        self._keep(self.stream.due(now, 1))

    def end(self, now: float = 0.0) -> list[str]:
        self._keep(self.stream.rest(now, 1))
        return [self.found[number] for number in sorted(self.found)]

    def _keep(self, lines: object) -> None:
        for line in lines:  # type: ignore[attr-defined]
            self.found[line.number] = line.text
            self.records += 1


def shown(*parts: bytes) -> list[str]:
    screen = Screen()
    for part in parts:
        screen.print(part)
    return screen.end()


@pytest.mark.parametrize(
    ("printed", "wanted"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\ntwo", ["one", "two"]),
        (b"\n\nx\n", ["", "", "x"]),
        (b"1%\r2%\r3%\nend\n", ["3%", "end"]),
        (b"1%\r2%\r", ["2%"]),
        (b"100%\r\n", ["100%"]),
        (b"\r1\r2\r\r\n", ["2"]),
        (b"working\r\x1b[Kdone\n", ["done"]),
        (b"\x1b[2K\rdone\n", ["done"]),
        (b"12%\x08\x08\x0834%\n", ["34%"]),
        (b"\x1b[31mred\x1b[0m plain\n", ["\x1b[31mred\x1b[0m plain"]),
        (b"\x1b]0;a title\x07text\n", ["text"]),
        (b"\x1b[?25lhidden cursor\x1b[?25h\n", ["hidden cursor"]),
        (b"bad \xff\xfe bytes\n", ["bad �� bytes"]),
        ("größer 😀\n".encode(), ["größer 😀"]),
        (b"a 0\nb 0\n" + b"\x1b[2Aa 1\x1b[K\nb 1\x1b[K\n" + b"end\n", ["a 1", "b 1", "end"]),
        (b"outer\n\rinner 1\x1b[A\n\rinner 2\x1b[A\n\n", ["outer", "inner 2"]),
    ],
)
def test_lines_as_a_terminal_shows_them(printed: bytes, wanted: list[str]) -> None:
    assert shown(printed) == wanted
    for at in range(1, len(printed)):
        assert shown(printed[:at], printed[at:]) == wanted, at
    assert shown(*(bytes([byte]) for byte in printed)) == wanted


def test_several_bars_of_tqdm_stay_one_line_each() -> None:
    screen = Screen()
    for step in range(1, 51):
        screen.print(f"\router {step}".encode(), step / 10)
        for inner in range(1, 6):
            screen.print(f"\n\rinner {step}.{inner}\x1b[A".encode(), step / 10)
    assert screen.end(6.0) == ["outer 50", "inner 50.5"]


def test_a_bar_is_recorded_from_time_to_time() -> None:
    screen = Screen()
    for step in range(1_000):
        screen.print(f"\r{step}".encode(), step / 100)
    assert 3 <= screen.records <= 10  # of ten seconds
    assert screen.found[0] != "999"
    assert screen.end() == ["999"]


def test_what_waits_for_an_answer_is_recorded() -> None:
    screen = Screen()
    screen.print(b"continue? ")
    assert screen.found == {}
    due = screen.stream.next_due()
    assert due is not None
    screen.print(b"", due)
    assert screen.found == {0: "continue? "}
    assert screen.stream.next_due() is None


def test_a_long_line_is_cut_at_what_the_wire_takes() -> None:
    assert MAX_LINE_CHARS == MAX_TEXT_CHARS
    assert recorded.SYSTEM_RANK == SYSTEM_RANK
    screen = Screen()
    for _ in range(20):
        screen.print(b"x" * 65_536)
        assert sum(row.chars for row in screen.stream._rows) <= MAX_LINE_CHARS
    screen.print(b"\nnext\n")
    cut, following = screen.end()
    assert len(cut) == MAX_LINE_CHARS
    assert cut.endswith("(cut)")
    assert following == "next"


def test_too_many_lines_are_left_out_and_counted() -> None:
    screen = Screen()
    printed = 200_000
    for begin in range(0, printed, 1_000):
        text = "".join(f"{number}\n" for number in range(begin, begin + 1_000))
        screen.print(text.encode(), begin / 100_000)
    kept = screen.end(now=2.0)
    said = [line for line in kept if line.startswith("[penstock: ")]
    left_out = sum(int(line.split()[1].replace(",", "")) for line in said)
    assert left_out + len(kept) - len(said) == printed
    assert MOST_LINES <= len(kept) <= MOST_LINES + 2 * LINES_PER_S + 2_000
    screen.print(b"later\n", 60.0)
    assert screen.end(60.0)[-1] == "later"


def test_too_many_bytes_are_left_out_too() -> None:
    screen = Screen()
    for turn in range(64):
        screen.print(b"\r" + b"x" * (1 << 20), turn / 1_000)
    kept = screen.end(now=10.0)
    assert any("were printed here and not recorded" in line for line in kept)
    assert sum(map(len, kept)) < 4 * BYTES_PER_S


def test_lines_far_above_the_cursor_are_forgotten() -> None:
    screen = Screen()
    for number in range(10_000):
        screen.print(f"{number}\n".encode())
        assert len(screen.stream._rows) < 3 * lines_module._WINDOW
    assert screen.end() == [str(number) for number in range(10_000)]


def test_any_cut_gives_the_same_lines() -> None:
    chosen = random.Random(7)
    marks = ["\n", "\r", "\r\n", "\x1b[A", "\x1b[K", "\x1b[1m", "\x08", "a", "ü", "😀", "xyz "]
    for _ in range(300):
        data = "".join(chosen.choices(marks, k=40)).encode()
        cuts = sorted(chosen.choices(range(len(data)), k=4))
        parts = [data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)])]
        assert shown(*parts) == shown(data), data
