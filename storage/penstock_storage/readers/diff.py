"""The first difference of two runs, key by key, found in the store without reading equal data.

The latest attempts are compared, rank by rank: ranks that both runs have are compared with each other;
if there are none, the lowest of each. A key is compared over the steps that both runs cover: steps
that one run has not reached yet are no difference.

One pass hashes each window of steps; only windows whose hashes differ are examined, few at first, in
statements of bounded size. A window with a step that was stored twice is examined as well, because
only the newest row counts, and a hash cannot tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock_storage.charts.attempts import attempt_ends, contested_runs
from penstock_storage.charts.series import int_list, read_first_steps, select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import Columns, LaneRow, PointStore
from penstock_storage.readers.diff_windows import Pair, Windows, suspicious_windows
from penstock_storage.readers.rows import json_number, json_value

__all__ = ["DiffQuery", "DiffResult", "Difference", "read_diff"]

_WINDOWS = 128
"""Windows per key at most."""

_MAX_SUMS = 400_000
_MAX_POINTS = 4_000_000
_NOBODY = 65_535
_KEYS_PER_STATEMENT = 5_000


@dataclass(frozen=True, slots=True)
class DiffQuery:
    """Two runs of a project. `names` are keys by number; `keys` those to compare (none: all).

    Numbers are equal if their bits are the same, or both are NaN; with a `tolerance`, also if their
    distance is at most that, relative to the larger absolute value where it exceeds 1.
    """

    runs: tuple[int, int]
    lanes: tuple[Sequence[LaneRow], Sequence[LaneRow]]
    names: Mapping[int, str]
    keys: Sequence[int] = ()
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """The first step at which a key differs. A value is None where that run lacks the step."""

    key: str
    step: int
    rank: int
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class DiffResult:
    """Differences by step and key; keys that only one run has; the number of keys compared."""

    differences: list[Difference]
    only_a: list[str]
    only_b: list[str]
    compared: int


async def read_diff(store: PointStore, query: DiffQuery) -> DiffResult:
    """Compare the numbers and values of two runs."""
    reader = await _Reader.open(store, query)
    numbers, values = await asyncio.gather(reader.numbers(), reader.values())
    first: dict[int, Difference] = {}
    for key, found in [*numbers.found, *values.found]:
        known = first.get(key)
        if known is None or (found.step, found.rank) < (known.step, known.rank):
            first[key] = found
    sides = [numbers.keys[side] | values.keys[side] for side in (0, 1)]
    names = query.names
    return DiffResult(
        sorted(first.values(), key=lambda found: (found.step, found.key)),
        sorted(names[key] for key in sides[0] - sides[1]),
        sorted(names[key] for key in sides[1] - sides[0]),
        len(sides[0] & sides[1]),
    )


@dataclass(slots=True)
class _Found:
    """Differences by key, and the keys of each run."""

    found: list[tuple[int, Difference]]
    keys: tuple[set[int], set[int]]


class _Reader:
    """Reads two runs side by side. `places`: (run, lane) -> (pair of ranks, end of the lane)."""

    def __init__(
        self,
        store: PointStore,
        query: DiffQuery,
        ranks: Sequence[int],
        places: Mapping[tuple[int, int], tuple[int, int]],
    ) -> None:
        self._store = store
        self._query = query
        self._ranks = ranks
        ids = [run << 16 | lane for run, lane in places]
        pairs, ends = zip(*places.values(), strict=True) if places else ((), ())
        lane = "bitOr(bitShiftLeft(toUInt64(run), 16), lane)"
        self._pair = _lookup(lane, ids, pairs, _NOBODY)
        self._counts = f"{self._pair} != {_NOBODY} AND step < {_lookup(lane, ids, ends, 0)}"
        others = [each for lanes in query.lanes for each in lanes if each.is_system]
        machines = int_list(each.run << 16 | each.lane for each in others)
        self._is_logged = f"{lane} NOT IN ({machines})" if machines else "1"
        self._side = f"run = {query.runs[1]}"
        self._is_empty = not places
        self._scope = f"run IN ({int_list(query.runs)})"
        if 0 < len(query.keys) <= _KEYS_PER_STATEMENT:
            self._scope = f"key IN ({int_list(query.keys)}) AND {self._scope}"

    @classmethod
    async def open(cls, store: PointStore, query: DiffQuery) -> _Reader:
        lanes = [*query.lanes[0], *query.lanes[1]]
        ends: dict[tuple[int, int], int] = {}
        if contested := contested_runs(lanes):
            ends = attempt_ends(lanes, await read_first_steps(store, contested))
        ranks, places = _paired(query, ends)
        return cls(store, query, ranks, places)

    # -- numbers

    async def numbers(self) -> _Found:
        """Keys with numbers: windows with different hashes, then their points."""
        kinds = await self._kinds()
        asked = sorted(set(kinds[0]) & set(kinds[1]))
        found: list[tuple[int, Difference]] = []
        if asked and not self._is_empty:
            shift = await self._shift(asked)
            open_windows = suspicious_windows(await self._sums(shift), shift)
            take = 1
            while open_windows:
                rows = await self._look_into(open_windows, shift, take)
                found += [(key, self._number(kinds, key, pair, *row)) for (key, pair), row in rows]
                done = {place for place, _ in rows}
                open_windows = [
                    windows.after(take) for windows in open_windows if windows.place not in done
                ]
                open_windows = [windows for windows in open_windows if len(windows.numbers)]
                room = _MAX_POINTS // max(1, len(open_windows) << shift + 1)
                take = max(1, min(take * 2, room))
        return _Found(found, (set(kinds[0]), set(kinds[1])))

    async def _kinds(self) -> tuple[dict[int, int], dict[int, int]]:
        """The kinds of numbers of each key of each run."""
        columns = await select(
            self._store,
            f"SELECT run, key, groupBitOr(s.kinds) AS kinds FROM {DATABASE}.series AS s"
            f" WHERE {self._scope} AND {self._is_logged} GROUP BY run, key",
        )
        found: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for run, key, kinds in _rows(columns, "run", "key", "kinds"):
            if key in self._query.names and (not self._query.keys or key in self._query.keys):
                found[int(run == self._query.runs[1])][key] = kinds
        return found

    async def _shift(self, keys: Sequence[int]) -> int:
        """The width of windows: 2^this steps."""
        columns = await select(
            self._store,
            f"SELECT min(first_step) AS lo, max(last_step) AS hi FROM {DATABASE}.series"
            f" WHERE {self._scope}",
        )
        lo, hi = map(int, _rows(columns, "lo", "hi")[0])
        windows = max(1, min(_WINDOWS, _MAX_SUMS // len(keys)))
        return max(6, ((hi - lo) // windows).bit_length())

    async def _sums(self, shift: int) -> Columns:
        """One row for each key, pair, side and window: count, distinct steps, range and hash."""
        value = "intHash64(reinterpretAsUInt64(if(isNaN(v), nan, v)))"
        return await select(
            self._store,
            f"SELECT key, {self._pair} AS pair, {self._side} AS side,"
            f" bitShiftRight(step, {shift}) AS w, count() AS points,"
            " groupBitmap(toUInt64(step)) AS steps, min(p.step) AS first, max(p.step) AS last,"
            f" sum(intHash64(bitXor(toUInt64(step), {value}))) AS hash"
            f" FROM {DATABASE}.points AS p PREWHERE {self._scope}"
            f" WHERE {self._counts} GROUP BY key, pair, side, w",
        )

    async def _look_into(
        self, open_windows: Sequence[Windows], shift: int, take: int
    ) -> list[tuple[Pair, tuple[int, Any, Any]]]:
        """The first differences in the next `take` windows of each key."""
        found = []
        for start in range(0, len(open_windows), _KEYS_PER_STATEMENT):
            some = open_windows[start : start + _KEYS_PER_STATEMENT]
            wanted = {
                (windows.place[0], int(number))
                for windows in some
                for number in windows.numbers[:take]
            }
            numbers = [number for _, number in wanted]
            where = (
                f"run IN ({int_list(self._query.runs)})"
                f" AND key IN ({int_list({key for key, _ in wanted})})"
                f" AND step >= {min(numbers) << shift} AND step < {max(numbers) + 1 << shift}"
                f" AND (key, bitShiftRight(step, {shift})) IN"
                f" ({','.join(f'({key},{number})' for key, number in wanted)})"
            )
            ranges = {windows.place: (windows.first, windows.last) for windows in some}
            found += await self._first_differences(
                "points", "v", _differ(self._query.tolerance), where, ranges
            )
        return found

    def _number(
        self, kinds: tuple[dict[int, int], ...], key: int, pair: int, step: int, a: Any, b: Any
    ) -> Difference:
        shown = (
            None if value is None else json_number(value, kinds[side][key])
            for side, value in enumerate((a, b))
        )
        return Difference(self._query.names[key], step, self._ranks[pair], *shown)

    # -- values

    async def values(self) -> _Found:
        """Keys with other values, compared as text."""
        columns = await select(
            self._store,
            f"SELECT key, {self._pair} AS pair, {self._side} AS side,"
            " min(p.step) AS first, max(p.step) AS last"
            f" FROM {DATABASE}.values AS p PREWHERE {self._scope}"
            f" WHERE {self._counts} AND kind != 'alert' GROUP BY key, pair, side",
        )
        ranges: dict[Pair, dict[int, tuple[int, int]]] = {}
        sides: tuple[set[int], set[int]] = (set(), set())
        for key, pair, side, first, last in _rows(columns, "key", "pair", "side", "first", "last"):
            if key in self._query.names:
                sides[side].add(key)
                ranges.setdefault((key, pair), {})[side] = (first, last)
        both = {
            place: (max(of[0][0], of[1][0]), min(of[0][1], of[1][1]))
            for place, of in ranges.items()
            if len(of) == 2
        }
        if not both:
            return _Found([], sides)
        rows = await self._first_differences("values", "json", "s.a != s.b", self._scope, both)
        found = []
        for (key, pair), (step, a, b) in rows:
            shown = (None if value is None else json_value(value) for value in (a, b))
            difference = Difference(self._query.names[key], step, self._ranks[pair], *shown)
            found.append((key, difference))
        return _Found(found, sides)

    # -- both

    async def _first_differences(
        self,
        table: str,
        value: str,
        differ: str,
        where: str,
        ranges: Mapping[Pair, tuple[int, int]],
    ) -> list[tuple[Pair, tuple[int, Any, Any]]]:
        """(step, a, b) of the first difference of each (key, pair) inside its range."""
        ids = [key << 16 | pair for key, pair in ranges]
        firsts, lasts = zip(*ranges.values(), strict=True)
        place = "bitOr(bitShiftLeft(toUInt64(key), 16), pair)"
        columns = await select(
            self._store,
            "SELECT key, pair, min(s.step) AS differs_at, argMin(s.a, s.step) AS a,"
            " argMin(s.b, s.step) AS b, argMin(s.in_a, s.step) AS in_a,"
            " argMin(s.in_b, s.step) AS in_b FROM ("
            f"SELECT key, {self._pair} AS pair, step,"
            f" argMaxIf({value}, seq, NOT {self._side}) AS a, argMaxIf({value}, seq, {self._side}) AS b,"
            f" max(NOT {self._side}) AS in_a, max({self._side}) AS in_b"
            f" FROM {DATABASE}.{table} PREWHERE {where} WHERE {self._counts}"
            " GROUP BY key, pair, step"
            f") AS s WHERE (s.in_a != s.in_b OR {differ})"
            f" AND s.step >= {_lookup(place, ids, firsts, 2**62)}"
            f" AND s.step <= {_lookup(place, ids, lasts, -(2**62))}"
            " GROUP BY key, pair",
        )
        names = ("key", "pair", "differs_at", "a", "b", "in_a", "in_b")
        return [
            ((key, pair), (step, a if in_a else None, b if in_b else None))
            for key, pair, step, a, b, in_a, in_b in _rows(columns, *names)
        ]


def _paired(
    query: DiffQuery, ends: Mapping[tuple[int, int], int]
) -> tuple[list[int], dict[tuple[int, int], tuple[int, int]]]:
    """The ranks that are compared, and the pair and end of each lane that takes part."""
    # System metrics differ between any two runs.
    logged = [[lane for lane in lanes if not lane.is_system] for lanes in query.lanes]
    ranks = [sorted({lane.rank for lane in lanes}) for lanes in logged]
    common = sorted(set(ranks[0]) & set(ranks[1]))
    chosen = [common, common] if common else [found[:1] for found in ranks]
    places = {
        (lane.run, lane.lane): (of.index(lane.rank), ends.get((lane.run, lane.lane), 2**62))
        for lanes, of in zip(logged, chosen, strict=True)
        for lane in lanes
        if lane.rank in of
    }
    return chosen[0], places


def _differ(tolerance: float) -> str:
    """SQL: whether the numbers `a` and `b` differ."""
    bits = (
        "(reinterpretAsUInt64(s.a) != reinterpretAsUInt64(s.b) AND NOT (isNaN(s.a) AND isNaN(s.b)))"
    )
    if not tolerance:
        return bits
    near = f"abs(s.a - s.b) <= {tolerance!r} * greatest(1., abs(s.a), abs(s.b))"
    return f"({bits} AND s.a != s.b AND NOT (isFinite(s.a) AND isFinite(s.b) AND {near}))"


def _lookup(value: str, keys: Sequence[int], found: Sequence[int], otherwise: int) -> str:
    """SQL: the item of `found` at the place of `value` in `keys`."""
    if not keys:
        return f"toInt64({otherwise})"
    return (
        f"transform({value}, CAST([{int_list(keys)}], 'Array(UInt64)'),"
        f" CAST([{int_list(found)}], 'Array(Int64)'), toInt64({otherwise}))"
    )


def _rows(columns: Columns, *names: str) -> list[tuple[Any, ...]]:
    """Columns as rows of Python values."""
    if not columns:
        return []
    found = (
        column.tolist() if isinstance(column := columns[name], np.ndarray) else column
        for name in names
    )
    return list(zip(*found, strict=True))
