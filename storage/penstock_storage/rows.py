"""Columns of points, times and values put together into history rows (pure).

A row is what one step holds: with all lanes together, of several values of a key the first lane's;
else one row per step and lane. Numbers leave as JSON reads them back: integers as integers, NaN and
±Inf as strings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from penstock_storage.interface import Columns

__all__ = ["KeyColumn", "LanePlace", "Page", "json_number", "json_value"]

_CHUNK_VALUES = 20_000
_ONLY_INTEGERS = 2

I64 = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]


class KeyColumn(NamedTuple):
    """A key that rows may have. `kinds` as in the `series` table."""

    number: int
    name: str
    kinds: int


class LanePlace(NamedTuple):
    """A lane that takes part, for steps below `end`."""

    lane: int
    rank: int
    end: int


class _Entries(NamedTuple):
    """Rows of one table: lane as a place in `Page.lanes`, key as a place in `Page.keys`."""

    step: I64
    lane: I64
    key: I64
    payload: Objects


def json_number(value: float, kinds: int) -> float | int | str:
    """A stored number as JSON carries it."""
    if np.isfinite(value):
        return int(value) if kinds == _ONLY_INTEGERS else value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def json_value(text: str) -> Any:
    """A stored JSON text, for putting into an answer; text that is no JSON stays a string."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return _lenient(text)
    return orjson.Fragment(text)


def _lenient(text: str) -> Any:
    """Python writes NaN and Infinity bare: they become strings, as everywhere."""
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text


@dataclass(frozen=True)
class Page:
    """What the tables hold of a run between two steps.

    `keys` are ordered by number, `lanes` in the order in which they win. With `is_complete` only
    rows that have all keys count; with `by_lane` lanes keep rows of their own.
    """

    keys: Sequence[KeyColumn]
    lanes: Sequence[LanePlace]
    points: Columns
    times: Columns
    values: Columns
    origin_us: int
    by_lane: bool
    is_complete: bool

    def lines(self) -> Iterator[bytes]:
        """The rows as JSON lines in step order, some at a time."""
        points = self._entries(self.points, "v")
        values = self._entries(self.values, "json")
        # Of one cell the first lane's, and there a value before a point, which sorts behind it.
        both = _Entries(*(np.concatenate(pair) for pair in zip(values, points, strict=True)))
        if not len(both.step):
            return
        steps, at = np.unique(both.step, return_inverse=True)
        row = at * len(self.lanes) + both.lane if self.by_lane else at
        order = np.lexsort((both.lane, both.key, row))
        row, key = row[order], both.key[order]
        first = np.append(True, (row[1:] != row[:-1]) | (key[1:] != key[:-1]))
        yield from self._encode(row[first], key[first], both.payload[order][first], steps)

    def _entries(self, columns: Columns, payload: str) -> _Entries:
        if not columns:
            empty = np.empty(0, np.int64)
            return _Entries(empty, empty, empty, np.empty(0, object))
        taken, step, lane = self._taken(columns)
        numbers = np.array([key.number for key in self.keys], np.int64)
        number = np.asarray(columns["key"], np.int64)[taken]
        key = np.minimum(np.searchsorted(numbers, number), len(numbers) - 1)
        known = numbers[key] == number
        taken, step, lane, key = taken[known], step[known], lane[known], key[known]
        if payload == "v":
            return _Entries(step, lane, key, self._numbers(np.asarray(columns["v"])[taken], key))
        texts = columns[payload]
        found = np.empty(len(taken), object)
        found[:] = [json_value(str(texts[index])) for index in taken.tolist()]
        return _Entries(step, lane, key, found)

    def _taken(self, columns: Columns) -> tuple[I64, I64, I64]:
        """Index, step and lane's place of the rows that belong to lanes that take part."""
        number = np.asarray(columns["lane"], np.int64)
        step = np.asarray(columns["step"], np.int64)
        place, end = np.full(2**16, -1, np.int64), np.zeros(2**16, np.int64)
        for at, lane in enumerate(self.lanes):
            place[lane.lane], end[lane.lane] = at, lane.end
        taken = np.flatnonzero((place[number] >= 0) & (step < end[number]))
        return taken, step[taken], place[number[taken]]

    def _numbers(self, v: npt.NDArray[np.float64], key: I64) -> Objects:
        found = v.astype(object)
        kinds = np.array([key.kinds for key in self.keys], np.int64)
        finite = np.isfinite(v)
        whole = finite & (kinds[key] == _ONLY_INTEGERS)
        found[whole] = [int(value) for value in v[whole].tolist()]
        found[~finite] = [json_number(value, 0) for value in v[~finite].tolist()]
        return found

    # -- writing rows

    def _encode(self, row: I64, key: I64, payload: Objects, steps: I64) -> Iterator[bytes]:
        starts = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
        ends = np.append(starts[1:], len(row))
        if self.is_complete:
            full = ends - starts == len(self.keys)
            starts, ends = starts[full], ends[full]
        if not len(starts):
            return
        heads = self._heads(row[starts], steps)
        names = np.array([key.name for key in self.keys], object)[key].tolist()
        values = payload.tolist()
        lines: list[bytes] = []
        budget = _CHUNK_VALUES
        for head, start, end in zip(heads, starts.tolist(), ends.tolist(), strict=True):
            head.update(zip(names[start:end], values[start:end], strict=True))
            lines.append(orjson.dumps(head, option=orjson.OPT_APPEND_NEWLINE))
            budget -= end - start + 3
            if budget <= 0:
                yield b"".join(lines)
                lines, budget = [], _CHUNK_VALUES
        if lines:
            yield b"".join(lines)

    def _heads(self, row: I64, steps: I64) -> Iterator[dict[str, Any]]:
        """What each row begins with: its step, its time, and its lane if rows are by lane."""
        at, place = divmod(row, len(self.lanes)) if self.by_lane else (row, np.zeros_like(row))
        clock = self._clock(steps[at], place)
        for step, t, index in zip(steps[at].tolist(), clock, place.tolist(), strict=True):
            head: dict[str, Any] = {"_step": step, "_timestamp": None, "_runtime": None}
            if t is not None:
                head["_timestamp"], head["_runtime"] = t / 1e6, (t - self.origin_us) / 1e6
            if self.by_lane:
                head["_rank"], head["_lane"] = self.lanes[index].rank, self.lanes[index].lane
            yield head

    def _clock(self, step: I64, place: I64) -> list[int | None]:
        """Microseconds of each row; with lanes together the first lane's that was there."""
        if not self.times:
            return [None] * len(step)
        taken, at, lane = self._taken(self.times)
        order = np.lexsort((lane, at))
        at, lane, t = at[order], lane[order], np.asarray(self.times["t"], np.int64)[taken][order]
        if not self.by_lane:
            first = np.append(True, at[1:] != at[:-1])[: len(at)]
            at, lane, t = at[first], np.zeros(np.count_nonzero(first), np.int64), t[first]
        steps = np.unique(at)
        if not len(steps):
            return [None] * len(step)
        # (step, lane) as one number, so that rows and times can be matched by one search.
        have = np.searchsorted(steps, at) * len(self.lanes) + lane
        near = np.minimum(np.searchsorted(steps, step), len(steps) - 1)
        want = near * len(self.lanes) + place
        index = np.minimum(np.searchsorted(have, want), len(have) - 1)
        hit = (steps[near] == step) & (have[index] == want)
        return [a if b else None for a, b in zip(t[index].tolist(), hit.tolist(), strict=True)]
