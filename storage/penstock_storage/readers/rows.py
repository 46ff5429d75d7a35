"""Serializer of history rows: combines columns of points, times and values into JSON lines. Pure.

A row holds one step: with lanes merged, the first lane's value of each key; else one row per step and
lane. Numbers are written so that JSON restores them: integers as integers, NaN and ±Inf as strings,
unless requested bare.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from penstock.wire.numbers import not_finite_text
from penstock_common.http.payloads import encode_json
from penstock_storage.contracts.interface import Columns

__all__ = ["KeyColumn", "LanePlace", "Page", "json_number", "json_value"]

_CHUNK_CELLS = 20_000
_HEADS = 10_000
_ONLY_INTEGERS = 2
_RUNTIME = "_runtime"

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]


class KeyColumn(NamedTuple):
    """A key of the rows. `kinds` as in the `series` table."""

    number: int
    name: str
    kinds: int


class LanePlace(NamedTuple):
    """A lane to read, for steps below `end`."""

    lane: int
    rank: int
    end: int


class _Cells(NamedTuple):
    """Rows of one table: `key` is an index into `Page.keys`, `at` the row's index in the table."""

    step: I64
    lane: I64
    key: I64
    at: I64


def json_number(value: float, kinds: int) -> float | int | str:
    """A stored number as JSON."""
    if np.isfinite(value):
        return int(value) if kinds == _ONLY_INTEGERS else value
    return not_finite_text(value)


def json_value(text: str) -> Any:
    """A stored JSON text for a reply; invalid JSON becomes a string."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return _lenient(text)
    return orjson.Fragment(text)


def is_python_json(text: str) -> bool:
    """Whether it is one line that Python's JSON parser accepts, which allows bare NaN and infinities."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return "\n" not in text


def _lenient(text: str) -> Any:
    """Bare NaN and Infinity, as Python writes them, become strings, as everywhere."""
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text


@dataclass(frozen=True)
class Page:
    """The stored rows of a run between two steps; of repeated rows the one with the greatest seq counts.

    `keys` are ordered by number, `lanes` by precedence. With `is_complete` only rows with all keys
    count; with `by_lane` lanes keep rows of their own.
    """

    keys: Sequence[KeyColumn]
    lanes: Sequence[LanePlace]
    points: Columns
    times: Columns
    values: Columns
    origin_us: int
    by_lane: bool
    is_complete: bool
    is_bare: bool = False

    def lines(self) -> Iterator[bytes]:
        """The rows as JSON lines in step order, in chunks."""
        values, points = self._cells(self.values), self._cells(self.points)
        # For a cell the first lane's counts, and within it a value before a point.
        both = points
        if len(values.step):
            both = _Cells(*(np.concatenate(pair) for pair in zip(values, points, strict=True)))
        if not len(both.step):
            return
        steps, row = _ranked(both.step)
        if self.by_lane:
            row = row * len(self.lanes) + both.lane
        cell = row * len(self.keys) + both.key
        is_point = np.arange(len(cell)) >= len(values.step)
        order = self._winners(cell, both.lane, is_point, both.at)
        row, key, at, is_point = row[order], both.key[order], both.at[order], is_point[order]
        del both, values, points, cell, order  # much memory, and formatting takes a while
        starts = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
        ends = np.append(starts[1:], len(row))
        if self.is_complete:
            full = ends - starts == len(self.keys)
            starts, ends = starts[full], ends[full]
        names = np.array([b",%b:" % orjson.dumps(key.name) for key in self.keys], object)
        heads = self._heads(row[starts], steps, self._says_runtime(key, starts, ends))
        for some in _slices(starts, ends):
            part = slice(starts[some][0], ends[some][-1])
            cells: list[bytes] = [b""] * (2 * (part.stop - part.start))
            cells[::2] = names[key[part]].tolist()
            cells[1::2] = self._texts(is_point[part], at[part], key[part])
            spans = zip(starts[some] - part.start, ends[some] - part.start, strict=True)
            yield _joined(heads, cells, spans)

    def _cells(self, columns: Columns) -> _Cells:
        if not columns:
            empty = np.empty(0, np.int64)
            return _Cells(empty, empty, empty, empty)
        taken, step, lane = self._taken(columns)
        numbers = np.array([key.number for key in self.keys], np.int64)
        number = np.asarray(columns["key"], np.int64)[taken]
        key = np.minimum(np.searchsorted(numbers, number), len(numbers) - 1)
        known = numbers[key] == number
        if known.all():
            return _Cells(step, lane, key, taken)
        return _Cells(step[known], lane[known], key[known], taken[known])

    def _taken(self, columns: Columns) -> tuple[I64, I64, I64]:
        """Index, step and lane precedence of the rows of the lanes to read."""
        number = np.asarray(columns["lane"], np.int64)
        step = np.asarray(columns["step"], np.int64)
        place, end = np.full(2**16, -1, np.int64), np.zeros(2**16, np.int64)
        for at, lane in enumerate(self.lanes):
            place[lane.lane], end[lane.lane] = at, lane.end
        taken = np.flatnonzero((place[number] >= 0) & (step < end[number]))
        return taken, step[taken], place[number[taken]]

    def _winners(self, cell: I64, lane: I64, is_point: Mask, at: I64) -> I64:
        """The source of each cell's text, by row and key."""
        order = np.argsort(cell, kind="stable")
        there = cell[order]
        repeats = there[1:] == there[:-1]
        if not repeats.any():
            return order
        seq = np.zeros(len(cell), np.int64)
        seq[is_point] = np.asarray(self.points["seq"], np.int64)[at[is_point]] if self.points else 0
        order = np.lexsort((-seq, is_point, lane, cell))
        there = cell[order]
        first: I64 = order[np.append(True, there[1:] != there[:-1])]
        return first

    # -- texts

    def _texts(self, is_point: Mask, at: I64, key: I64) -> list[bytes]:
        """The JSON of each cell."""
        if is_point.all():
            return list(self._number_texts(at, key))
        found = np.empty(len(at), object)
        found[is_point] = self._number_texts(at[is_point], key[is_point])
        stored = self.values["json"]
        found[~is_point] = [
            self._value_text(str(stored[place])) for place in at[~is_point].tolist()
        ]
        return list(found)

    def _value_text(self, stored: str) -> bytes:
        if self.is_bare and is_python_json(stored):
            return stored.encode()
        return encode_json(json_value(stored))

    def _number_texts(self, at: I64, key: I64) -> Objects:
        if not len(at):
            return np.empty(0, object)
        v = np.asarray(self.points["v"], np.float64)[at]
        found = np.array(_split(v), object)
        finite = np.isfinite(v)
        kinds = np.array([key.kinds for key in self.keys], np.int64)
        if (kinds == _ONLY_INTEGERS).any():
            whole = np.flatnonzero(finite & (kinds[key] == _ONLY_INTEGERS))
            found[whole] = [b"%d" % int(value) for value in v[whole].tolist()]
        if not finite.all():
            odd = np.flatnonzero(~finite)
            found[odd] = [self._odd_text(value) for value in v[odd].tolist()]
        return found

    def _odd_text(self, value: float) -> bytes:
        text = json_number(value, 0)
        return str(text).encode() if self.is_bare else orjson.dumps(text)

    def _says_runtime(self, key: I64, starts: I64, ends: I64) -> Mask:
        """The rows that logged `_runtime` themselves: their value counts."""
        own = [at for at, each in enumerate(self.keys) if each.name == _RUNTIME]
        if not own:
            return np.zeros(len(starts), np.bool_)
        before = np.append(0, np.cumsum(key == own[0]))
        found: Mask = before[ends] > before[starts]
        return found

    def _heads(self, row: I64, steps: I64, says_runtime: Mask) -> Iterator[bytes]:
        """The start of each row: its step, its time, and its lane if rows are by lane."""
        at, place = divmod(row, len(self.lanes)) if self.by_lane else (row, np.zeros_like(row))
        step, t = steps[at], self._clock(steps[at], place)
        lanes = [b',"_rank":%d,"_lane":%d' % (lane.rank, lane.lane) for lane in self.lanes]
        for start in range(0, len(step), _HEADS):
            some = slice(start, start + _HEADS)
            runtime = (t[some] - self.origin_us) / 1e6
            columns = zip(_split(step[some]), _split(t[some] / 1e6), strict=True)
            heads = [b'{"_step":%b,"_timestamp":%b' % each for each in columns]
            for index, text in enumerate(_split(runtime)):
                if not says_runtime[start + index]:
                    heads[index] += b',"_runtime":%b' % text
            if self.by_lane:
                yield from (
                    head + lanes[index]
                    for head, index in zip(heads, place[some].tolist(), strict=True)
                )
            else:
                yield from heads

    def _clock(self, step: I64, place: I64) -> F64:
        """The time of each row in microseconds, NaN if unknown; with lanes merged, of the first lane that
        has it."""
        if not self.times:
            return np.full(len(step), np.nan)
        index, at, lane = self._taken(self.times)
        seq = np.asarray(self.times["seq"], np.int64)[index]
        order = np.lexsort((-seq, lane, at))
        at, lane, t = at[order], lane[order], np.asarray(self.times["t"])[index][order]
        first = np.append(True, at[1:] != at[:-1])
        if self.by_lane:
            first[1:] |= lane[1:] != lane[:-1]
        else:
            lane = np.zeros_like(lane)
        first = first[: len(at)]
        at, lane, t = at[first], lane[first], t[first]
        steps = np.unique(at)
        if not len(steps):
            return np.full(len(step), np.nan)
        # (step, lane) as one number, so that one search matches rows and times.
        have = np.searchsorted(steps, at) * len(self.lanes) + lane
        near = np.minimum(np.searchsorted(steps, step), len(steps) - 1)
        want = near * len(self.lanes) + place
        index = np.minimum(np.searchsorted(have, want), len(have) - 1)
        hit = (steps[near] == step) & (have[index] == want)
        return np.where(hit, t[index], np.nan)


def _split(numbers: I64 | F64) -> list[bytes]:
    """Each number as JSON; NaN and infinities as null."""
    if not len(numbers):
        return []
    whole = orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)
    return whole[1:-1].split(b",")


def _ranked(numbers: I64) -> tuple[I64, I64]:
    """The distinct numbers in order, and the index of each number among them."""
    low = int(numbers.min())
    span = int(numbers.max()) - low + 1
    if span > 4 * len(numbers):
        distinct, places = np.unique(numbers, return_inverse=True)
        return distinct, places
    # Counting costs a fifth of sorting.
    present = np.zeros(span, np.int64)
    present[numbers - low] = 1
    ranks = np.cumsum(present) - 1
    return np.flatnonzero(present) + low, ranks[numbers - low]


def _slices(starts: I64, ends: I64) -> Iterator[slice]:
    """The rows in chunks: at least one row, up to a bounded number of cells."""
    first = 0
    while first < len(starts):
        after = int(np.searchsorted(ends, starts[first] + _CHUNK_CELLS, side="right"))
        after = max(first + 1, after)
        yield slice(first, after)
        first = after


def _joined(heads: Iterator[bytes], cells: list[bytes], spans: Iterator[tuple[int, int]]) -> bytes:
    """Rows as lines: each is its head, then its cells of two pieces each."""
    pieces: list[bytes] = []
    for start, end in spans:
        pieces.append(next(heads))
        pieces += cells[2 * start : 2 * end]
        pieces.append(b"}\n")
    return b"".join(pieces)
