"""Converts history lines and system lines to columns and values.

Most lines repeat the same keys, in any order, with almost only numbers as values: such lines are
split in C. The others are handled key by key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from penstock.wire import MAX_STEP, Frame, Limits, fit_key
from penstock.wire.numbers import not_finite_text
from penstock.wire.records import ValueRecord
from penstock_compat.wandb.stream.post import Lines
from penstock_compat.wandb.values import loads

__all__ = ["LineBlock", "LineColumns", "Table", "origin_of", "read_events", "read_history"]

Row = tuple[Any, ...]
Column = npt.NDArray[Any]

_CHUNK = 1_000  # lines split together
_NUMBERS = frozenset({int, float})
_INT64 = 2**63
_MAX_SECONDS = 1e12
_ORIGINS = 100  # lines looked at for when their process began
STEP, TIME, RUNTIME = "_step", "_timestamp", "_runtime"
_TAIL = (STEP, TIME, RUNTIME)


class LineBlock(NamedTuple):
    """Rows by column: steps, times (µs), and for each key its n values and whether all of them are
    integers."""

    steps: Column
    times: Column
    values: list[Column]
    are_ints: list[bool]


@dataclass(slots=True)
class LineColumns:
    """Rows with the same keys."""

    keys: tuple[str, ...]
    pieces: list[LineBlock] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    """Rows added one by one: (step, time, values in the order of `keys`)."""

    @property
    def last_step(self) -> int:
        """The highest step of all rows."""
        highest = [int(piece.steps.max()) for piece in self.pieces]
        return max([*highest, *(int(row[0]) for row in self.rows)])

    def frames(self, limits: Limits, most_points: int) -> Iterator[Frame]:
        """The rows in step order, as frames within the limits."""
        if self.rows:
            own_steps, own_times, *values = zip(*self.rows, strict=True)
            kinds = [{*map(type, column)} for column in values]
            own = _piece(np.array(own_steps, "<i8"), np.array(own_times, "<i8"), values, kinds)
            self.pieces.insert(0, own)
            self.rows = []
        steps = np.concatenate([piece.steps for piece in self.pieces])
        times = np.concatenate([piece.times for piece in self.pieces])
        columns = [
            np.concatenate([piece.values[at] for piece in self.pieces])
            for at in range(len(self.keys))
        ]
        if np.any(steps[1:] < steps[:-1]):  # those added one by one are out of order
            order = np.argsort(steps, kind="stable")
            steps, times = steps[order], times[order]
            columns = [column[order] for column in columns]
        ints = bytes(
            all(piece.are_ints[at] for piece in self.pieces) for at in range(len(self.keys))
        )
        width = min(limits.keys_per_frame, most_points, len(self.keys))
        height = max(1, most_points // width)
        for row in range(0, len(steps), height):
            rows = slice(row, row + height)
            for key in range(0, len(self.keys), width):
                keys = slice(key, key + width)
                yield Frame(
                    list(self.keys[keys]),
                    steps[rows].tobytes(),
                    times[rows].tobytes(),
                    b"".join(column[rows].tobytes() for column in columns[keys]),
                    ints[keys],
                )


@dataclass(slots=True)
class Table:
    """The content of some lines, and the needed values of the last one."""

    columns: dict[tuple[str, ...], LineColumns] = field(default_factory=dict)
    values: list[ValueRecord] = field(default_factory=list)
    tail: dict[str, Any] = field(default_factory=dict)
    refused: int = 0

    def frames(self, limits: Limits, most_points: int) -> Iterator[Frame]:
        """All rows as frames. If a key is in several columns, the last frame has its last row: a key's
        last value follows from the order of the frames."""
        for columns in sorted(self.columns.values(), key=lambda each: each.last_step):
            yield from columns.frames(limits, most_points)

    def add(self, step: int, at: int, numbers: dict[str, Any]) -> None:
        keys = tuple(sorted(numbers))
        known = self.columns.get(keys)
        if known is None:
            known = self.columns[keys] = LineColumns(keys)
        known.rows.append((step, at, *map(numbers.__getitem__, keys)))


def read_history(lines: Lines, limits: Limits) -> Table:
    """The points and values of history lines. A line without a step uses its index."""
    taker = _Taker(limits)
    for start in range(0, len(lines.content), _CHUNK):
        parsed = _parse(lines.content[start : start + _CHUNK])
        taker.take(parsed, lines.offset + start)
    return taker.table


def origin_of(lines: Lines) -> int:
    """About when the process that wrote these history lines began, in µs by its own clock; 0 if they do not
    say. A row's `_timestamp` is when it was logged, its `_runtime` when it was complete, which may be an
    interval later: the latest of them is closest."""
    return max(map(_origin, lines.content[:_ORIGINS]), default=0)


def _origin(line: str) -> int:
    try:
        found = orjson.loads(line)
        at, runtime = found[TIME], found[RUNTIME]
    except (ValueError, TypeError, KeyError):
        return 0
    # Clients that round the run time to seconds say too little.
    if type(at) is float and type(runtime) is float and 0 <= at - runtime < _MAX_SECONDS:
        return round((at - runtime) * 1e6)
    return 0


def read_events(lines: Lines, limits: Limits) -> Table:
    """The points of system lines; the step is the line's index. Their `_runtime` gets another name,
    since the history's is a separate series."""
    taker = _Taker(limits, {RUNTIME: f"system.{RUNTIME}"})
    parsed = _parse(lines.content)
    for index, line in enumerate(parsed, lines.offset):
        if isinstance(line, dict):
            line.pop("_wandb", None)
            line[STEP] = index
    taker.take(parsed, lines.offset)
    return taker.table


def _parse(lines: Sequence[str]) -> list[Any]:
    try:
        parsed = orjson.loads(f"[{','.join(lines)}]")
        if len(parsed) == len(lines):
            return list(parsed)
    except orjson.JSONDecodeError:
        pass  # NaN, which is not valid JSON, or a damaged line
    return [_parse_one(line) for line in lines]


def _parse_one(line: str) -> Any:
    try:
        return loads(line)
    except (ValueError, RecursionError):
        return None


class _Layout(NamedTuple):
    """How to split lines with certain keys, and where their rows go."""

    get: Callable[[dict[str, Any]], Row]
    columns: LineColumns


class _Taker:
    """Adds parsed lines; first tries the layout of the last line with as many keys."""

    def __init__(self, limits: Limits, names: Mapping[str, str] | None = None) -> None:
        self.table = Table()
        self._limits = limits
        self._now = time.time_ns() // 1000
        self._layouts: dict[int, _Layout] = {}
        self._names: dict[str, str] = dict(names or {})

    def take(self, lines: Sequence[Any], first_index: int) -> None:
        """Add some lines; the first one has this index."""
        by_size: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        for index, line in enumerate(lines, first_index):
            if isinstance(line, dict):
                by_size.setdefault(len(line), []).append((index, line))
            else:
                self.table.refused += 1
        last = next((line for line in reversed(lines) if isinstance(line, dict)), None)
        if last is not None:
            self.table.tail = {key: last[key] for key in _TAIL if key in last}
        for size, group in by_size.items():
            index, line = group[0]
            if size not in self._layouts:
                self._take_one(line, index)
                del group[0]
            if not (
                group and size in self._layouts and self._take_alike(self._layouts[size], group)
            ):
                for index, line in group:
                    self._take_one(line, index)

    def _take_alike(self, layout: _Layout, group: list[tuple[int, dict[str, Any]]]) -> bool:
        """Add lines if all of them have this layout and only numbers; otherwise adds nothing and
        returns False."""
        try:
            rows = [layout.get(line) for _, line in group]
        except KeyError:
            return False
        steps, times, *values = zip(*rows, strict=True)
        if {*map(type, steps)} != {int} or {*map(type, times)} != {float}:
            return False
        if max(steps) >= MAX_STEP or min(steps) <= -MAX_STEP:
            return False
        if not (min(times) >= 0 and max(times) < _MAX_SECONDS):
            return False
        kinds = [{*map(type, column)} for column in values]
        if not all(_NUMBERS.issuperset(kind) for kind in kinds):
            return False
        at = (np.array(times, "<f8") * 1e6 + 0.5).astype("<i8")
        layout.columns.pieces.append(_piece(np.array(steps, "<i8"), at, values, kinds))
        return True

    def _take_one(self, line: dict[str, Any], index: int) -> None:
        step, at = line.get(STEP, index), line.get(TIME)
        own_step, own_time = _step(step, index), self._time(at)
        numbers: dict[str, Any] = {}
        is_plain = STEP in line and TIME in line
        for key, value in _flat(line):
            if key in (STEP, TIME):
                continue
            name = self._name(key)
            if type(value) in _NUMBERS:
                numbers[name] = value
                is_plain = is_plain and name == key
            else:
                is_plain = False
                self.table.values.append(_value(name, own_step, own_time, value))
        if numbers:
            self.table.add(own_step, own_time, numbers)
        if is_plain and len(numbers) == len(line) - 2 and numbers:
            keys = tuple(sorted(numbers))
            self._layouts[len(line)] = _Layout(
                itemgetter(STEP, TIME, *keys), self.table.columns[keys]
            )

    def _time(self, seconds: Any) -> int:
        usual = type(seconds) in _NUMBERS and 0 <= seconds < _MAX_SECONDS
        return int(seconds * 1e6 + 0.5) if usual else self._now

    def _name(self, key: str) -> str:
        """The key, or a replacement if it is not a valid metric name."""
        known = self._names.get(key)
        if known is None:
            known = self._names[key] = fit_key(key, self._limits)
        return known


def _piece(
    steps: Column, times: Column, values: Sequence[Sequence[Any]], kinds: Sequence[set[type]]
) -> LineBlock:
    columns = [np.array(column, "<f8") for column in values]
    return LineBlock(steps, times, columns, [kind == {int} for kind in kinds])


def _step(step: Any, index: int) -> int:
    if type(step) is float and step.is_integer():
        step = int(step)
    return step if type(step) is int and -MAX_STEP < step < MAX_STEP else index


def _flat(line: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Flatten nested objects to dotted keys, except media objects and too deeply nested ones."""
    for key, value in line.items():
        if isinstance(value, dict) and value and "_type" not in value and depth < 64:
            yield from _flat(value, f"{prefix}{key}.", depth + 1)
        else:
            yield f"{prefix}{key}", value


def _value(key: str, step: int, at: int, value: Any) -> ValueRecord:
    return {
        "t": "value", "key": key, "step": step, "time": at,
        "kind": _kind(value), "json": _json(value),
    }  # fmt: skip


def _kind(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("_type"), str):
        return str(value["_type"])[:32]
    names = {str: "string", bool: "bool", type(None): "null", list: "list"}
    return names.get(type(value), "dict")


def _json(value: Any) -> str:
    """Its JSON; empty if it is nested more deeply than readers support, which leaves it out."""
    try:
        return orjson.dumps(_plain(value), option=orjson.OPT_NON_STR_KEYS).decode()
    except (orjson.JSONEncodeError, RecursionError):
        return ""


def _plain(value: Any) -> Any:
    """JSON lacks NaN and infinities: inside a value they become strings, as in all clients."""
    if isinstance(value, float):
        if value == value and abs(value) != float("inf"):
            return value
        return not_finite_text(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _INT64:
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
