"""History lines and system lines into columns and values.

Lines of one training step have the same keys over and over, in any order, and nearly all their
values are numbers: such lines are taken apart in C. The others go key by key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import orjson

from penstock.wire import MAX_STEP, Frame, Limits
from penstock_compat.wandb.stream.post import Lines
from penstock_compat.wandb.values import loads

__all__ = ["Columns", "Table", "read_events", "read_history"]

Row = tuple[Any, ...]

_CHUNK = 500  # lines parsed by one call, which lets nobody else in meanwhile
_NUMBERS = frozenset({int, float})
_INT64 = 2**63
STEP, TIME, RUNTIME = "_step", "_timestamp", "_runtime"
_TAIL = (STEP, TIME, RUNTIME)


@dataclass(slots=True)
class Columns:
    """Rows that have the same keys: (step, time in µs, values in the order of `keys`)."""

    keys: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)

    def frames(self, limits: Limits, most_points: int) -> Iterator[Frame]:
        """The rows as frames that keep the limits."""
        per_frame = min(limits.keys_per_frame, most_points)
        rows_each = max(1, most_points // max(1, min(len(self.keys), per_frame)))
        for start in range(0, len(self.rows), rows_each):
            some = self.rows[start : start + rows_each]
            columns = list(zip(*some, strict=True))
            steps, times = (np.array(each, "<i8").tobytes() for each in columns[:2])
            for at in range(0, len(self.keys), per_frame):
                part = columns[2 + at : 2 + at + per_frame]
                yield Frame(
                    list(self.keys[at : at + per_frame]),
                    steps,
                    times,
                    b"".join(np.array(each, "<f8").tobytes() for each in part),
                    bytes(set(map(type, each)) == {int} for each in part),
                )


@dataclass(slots=True)
class Table:
    """What some lines hold, and what is needed of the last one."""

    columns: dict[tuple[str, ...], Columns] = field(default_factory=dict)
    values: list[dict[str, Any]] = field(default_factory=list)
    tail: dict[str, Any] = field(default_factory=dict)
    refused: int = 0

    def add(self, step: int, at: int, numbers: dict[str, Any]) -> None:
        keys = tuple(sorted(numbers))
        known = self.columns.get(keys)
        if known is None:
            known = self.columns[keys] = Columns(keys)
        known.rows.append((step, at, *map(numbers.__getitem__, keys)))


def read_history(lines: Lines, limits: Limits) -> Table:
    """The points and values of history lines. A line without a step has its own index as one."""
    table = Table()
    take = _Taker(table, limits)
    for index, line in _parsed(lines, table):
        take(line, index)
        table.tail = {key: line[key] for key in _TAIL if key in line}
    return table


def read_events(lines: Lines, limits: Limits) -> Table:
    """The points of system lines; the step is the line's index."""
    table = Table()
    take = _Taker(table, limits)
    for index, line in _parsed(lines, table):
        table.tail = {key: line[key] for key in _TAIL if key in line}
        line.pop("_wandb", None)
        line[STEP] = index
        if RUNTIME in line:
            line[f"system.{RUNTIME}"] = line.pop(RUNTIME)
        take(line, index)
    return table


def _parsed(lines: Lines, table: Table) -> Iterator[tuple[int, dict[str, Any]]]:
    for start in range(0, len(lines.content), _CHUNK):
        some = lines.content[start : start + _CHUNK]
        for at, line in enumerate(_parse(some), lines.offset + start):
            if isinstance(line, dict):
                yield at, line
            else:
                table.refused += 1


def _parse(lines: Sequence[str]) -> list[Any]:
    try:
        parsed = orjson.loads(f"[{','.join(lines)}]")
        if len(parsed) == len(lines):
            return list(parsed)
    except orjson.JSONDecodeError:
        pass  # NaN, which is no JSON, or a damaged line
    return [_parse_one(line) for line in lines]


def _parse_one(line: str) -> Any:
    try:
        return loads(line)
    except (ValueError, RecursionError):
        return None


class _Layout(NamedTuple):
    """How to take lines apart that have certain keys, and where their rows go."""

    get: Callable[[dict[str, Any]], Row]
    append: Callable[[Row], None]


class _Taker:
    """Takes parsed lines; the layout of the last one with as many keys is tried first."""

    def __init__(self, table: Table, limits: Limits) -> None:
        self._table = table
        self._limits = limits
        self._now = time.time_ns() // 1000
        self._layouts: dict[int, _Layout] = {}
        self._names: dict[str, str] = {}

    def __call__(self, line: dict[str, Any], index: int) -> None:
        layout = self._layouts.get(len(line))
        if layout is not None:
            try:
                step, at, *values = layout.get(line)
            except KeyError:
                pass
            else:
                if _NUMBERS.issuperset(map(type, values)) and _is_usual(step, at):
                    layout.append((step, int(at * 1e6 + 0.5), *values))
                    return
        self._take(line, index)

    def _take(self, line: dict[str, Any], index: int) -> None:
        step, at = line.pop(STEP, index), line.pop(TIME, None)
        own_step, own_time = _step(step, index), self._time(at)
        numbers: dict[str, Any] = {}
        is_plain = True
        for key, value in _flat(line):
            name = self._name(key)
            if type(value) in _NUMBERS:
                numbers[name] = (
                    value if type(value) is float or abs(value) < _INT64 else float(value)
                )
                is_plain = is_plain and name == key
            else:
                is_plain = False
                self._table.values.append(_value(name, own_step, own_time, value))
        if numbers:
            self._table.add(own_step, own_time, numbers)
        if is_plain and numbers and len(numbers) == len(line) and _is_usual(step, at):
            keys = tuple(sorted(numbers))
            append = self._table.columns[keys].rows.append
            self._layouts[len(keys) + 2] = _Layout(itemgetter(STEP, TIME, *keys), append)

    def _time(self, seconds: Any) -> int:
        usual = type(seconds) in _NUMBERS and 0 <= seconds < 1e12
        return int(seconds * 1e6 + 0.5) if usual else self._now

    def _name(self, key: str) -> str:
        """The key, or what stands for one that can name no metric."""
        known = self._names.get(key)
        if known is None:
            known = self._names[key] = _metric_name(key, self._limits)
        return known


def _is_usual(step: Any, at: Any) -> bool:
    return (
        type(step) is int and -MAX_STEP < step < MAX_STEP and type(at) is float and 0 <= at < 1e12
    )


def _step(step: Any, index: int) -> int:
    if type(step) is float and step.is_integer():
        step = int(step)
    return step if type(step) is int and -MAX_STEP < step < MAX_STEP else index


def _flat(line: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Nested objects as dotted keys; media objects, and what is nested too deep, whole."""
    for key, value in line.items():
        if isinstance(value, dict) and value and "_type" not in value and depth < 64:
            yield from _flat(value, f"{prefix}{key}.", depth + 1)
        else:
            yield f"{prefix}{key}", value


def _value(key: str, step: int, at: int, value: Any) -> dict[str, Any]:
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
    return orjson.dumps(_plain(value), option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: Any) -> Any:
    """JSON has no NaN and infinities: inside a value they are strings, as every client here does."""
    if isinstance(value, float):
        if value == value and abs(value) != float("inf"):
            return value
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _INT64:
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def _metric_name(key: str, limits: Limits) -> str:
    clean = "".join(" " if c < " " or c == "\x7f" else c for c in key) or "_"
    raw = clean.encode(errors="replace")
    if len(raw) <= limits.key_bytes:
        return raw.decode()
    mark = f"…{blake2b(raw, digest_size=6).hexdigest()}"
    room = limits.key_bytes - len(mark.encode())
    return raw[:room].decode(errors="ignore") + mark
