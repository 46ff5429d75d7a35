"""Facts about the keys of runs: how many values of which type, the last one, and whether they ever fall.

Counting reads every step of every key, so it is exact for runs of up to a million points; for larger
ones a count is the number of steps between a key's first and last, and whether values fall is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import orjson

from penstock_storage.charts.attempts import LaneId, attempt_ends
from penstock_storage.charts.series import int_list, select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import Columns, LaneRow, PointStore
from penstock_storage.readers.rows import json_number
from penstock_storage.readers.sampling import lane_condition

__all__ = ["KeyFacts", "RunKeyFacts", "read_key_facts"]

_MAX_POINTS = 1_000_000
_MAX_JSON_BYTES = 4_096
_KEYS_PER_STATEMENT = 5_000


@dataclass(slots=True)
class KeyFacts:
    """One key: how often it has a value of a type (`number`, or the kind of a value), and the last
    value as JSON carries it."""

    counts: dict[str, int] = field(default_factory=dict)
    last: Any = None
    last_step: int = -(2**62)
    never_falls: bool = False


@dataclass(slots=True)
class RunKeyFacts:
    """One run's latest attempt, by key. `rows`: how many steps have a row with a time; `last_at`:
    when the last one was logged, µs since 1970."""

    keys: dict[str, KeyFacts] = field(default_factory=dict)
    last_step: int | None = None
    last_at: int | None = None
    rows: int = 0

    def reach(self, step: int) -> None:
        """The last step of the run."""
        self.last_step = step if self.last_step is None else max(step, self.last_step)


class _Series(NamedTuple):
    """A key in one lane, before the lane's end; `points` is an upper bound."""

    run: int
    key: int
    lane: int
    last: int
    points: int
    value: float
    kinds: int


async def read_key_facts(
    store: PointStore, lanes: Sequence[LaneRow], names: Mapping[int, str]
) -> dict[int, RunKeyFacts]:
    """The keys of the runs of these lanes, by run. `names` are their project's keys by number.

    Of several lanes of a run the lowest rank's latest one decides.
    """
    own = [lane for lane in lanes if not lane.is_system]
    facts = {lane.run: RunKeyFacts() for lane in lanes}
    if not own or not names:
        return facts
    found, first = await _read_series(store, own)
    ends = attempt_ends(own, first)
    series = _shown(found, ends, own)
    conditions = dict(_conditions(own, ends))
    where = _among(conditions, conditions)
    texts, rows = await asyncio.gather(_read_values(store, where, names), _read_rows(store, where))
    for each in series:
        _add_numbers(facts[each.run], each, names)
    for runs, keys in _countable(series):
        counted = await _count(store, _among(runs, conditions), keys)
        for run, key, count, rises in _tuples(counted, "run", "key", "count", "rises"):
            if key in names:
                known = facts[run].keys[names[key]]
                known.counts["number"], known.never_falls = int(count), bool(rises)
    for run, key, *value in _tuples(texts, "run", "key", "kind", "count", "last", "text"):
        _add_value(facts[run], names.get(key), *value)
    for run, count, at, last in _tuples(rows, "run", "rows", "at", "last"):
        facts[run].rows, facts[run].last_at = int(count), int(at)
        facts[run].reach(int(last))
    return facts


async def _read_series(
    store: PointStore, own: Sequence[LaneRow]
) -> tuple[list[tuple[Any, ...]], dict[LaneId, int]]:
    """Rows of series, and the first step of each lane."""
    columns = await select(
        store,
        "SELECT run, key, lane, min(s.first_step) AS first, max(s.last_step) AS last,"
        " tupleElement(max(s.last), 2) AS value, groupBitOr(s.kinds) AS kinds"
        f" FROM {DATABASE}.series AS s WHERE run IN ({int_list({lane.run for lane in own})})"
        " GROUP BY run, key, lane",
    )
    rows = _tuples(columns, "run", "key", "lane", "first", "last", "value", "kinds")
    first: dict[LaneId, int] = {}
    for run, _, lane, at, *_rest in rows:
        first[run, lane] = min(at, first.get((run, lane), at))
    return rows, first


def _shown(
    rows: Sequence[tuple[Any, ...]], ends: Mapping[LaneId, int], own: Sequence[LaneRow]
) -> list[_Series]:
    """The series with points before their lane's end, in order of precedence."""
    order = sorted(own, key=LaneRow.precedence)
    places = {(lane.run, lane.lane): place for place, lane in enumerate(order)}
    found = []
    for run, key, lane, first, last, value, kinds in rows:
        end = ends.get((run, lane), last + 1)
        if (run, lane) in places and first < end:
            last = min(last, end - 1)
            found.append(_Series(run, key, lane, last, last - first + 1, value, kinds))
    return sorted(found, key=lambda each: places[each.run, each.lane])


def _conditions(own: Sequence[LaneRow], ends: Mapping[LaneId, int]) -> Iterator[tuple[int, str]]:
    for run, lanes in groupby(sorted(own, key=lambda lane: lane.run), lambda lane: lane.run):
        numbers = [lane.lane for lane in lanes]
        cut = {lane: ends[run, lane] for lane in numbers if (run, lane) in ends}
        yield run, f"(run = {int(run)} AND {lane_condition(numbers, cut)})"


def _among(runs: Collection[int], conditions: Mapping[int, str]) -> str:
    """SQL: the row belongs to one of these runs, and counts there."""
    return f"run IN ({int_list(runs)}) AND ({' OR '.join(conditions[run] for run in runs)})"


def _countable(series: Sequence[_Series]) -> Iterator[tuple[list[int], set[int]]]:
    """Runs with few enough points to be counted, in groups for which that holds, and their keys."""
    points: dict[int, int] = {}
    keys: dict[int, set[int]] = {}
    for each in series:
        points[each.run] = points.get(each.run, 0) + each.points
        keys.setdefault(each.run, set()).add(each.key)
    runs: list[int] = []
    for run, count in points.items():
        if count > _MAX_POINTS:
            continue
        if runs and sum(points[each] for each in runs) + count > _MAX_POINTS:
            yield runs, set().union(*(keys[each] for each in runs))
            runs = []
        runs.append(run)
    if runs:
        yield runs, set().union(*(keys[each] for each in runs))


def _add_numbers(facts: RunKeyFacts, series: _Series, names: Mapping[int, str]) -> None:
    facts.reach(series.last)
    if (name := names.get(series.key)) is None:
        return
    known = facts.keys.setdefault(name, KeyFacts())
    if "number" not in known.counts:
        known.last, known.last_step = json_number(series.value, series.kinds), series.last
    known.counts["number"] = known.counts.get("number", 0) + series.points


def _add_value(
    facts: RunKeyFacts, name: str | None, kind: str, count: int, last: int, text: str
) -> None:
    facts.reach(int(last))
    if name is None:
        return
    known = facts.keys.setdefault(name, KeyFacts())
    known.counts[kind] = int(count)
    known.never_falls = False
    if last >= known.last_step:
        known.last, known.last_step = _decoded(text), int(last)


async def _count(store: PointStore, where: str, keys: Collection[int]) -> Columns:
    within = f"key BETWEEN {min(keys)} AND {max(keys)}"
    if len(keys) <= _KEYS_PER_STATEMENT:
        within = f"key IN ({int_list(keys)})"
    by_step = "arrayMap(p -> p.2, arraySort(groupArray((step, v))))"
    return await select(
        store,
        "SELECT run, key, uniqExact(step) AS count,"
        f" toUInt8(arrayAll(d -> d >= 0, arrayDifference({by_step}))) AS rises"
        f" FROM {DATABASE}.points WHERE {within} AND {where} GROUP BY run, key",
    )


async def _read_values(store: PointStore, where: str, names: Mapping[int, str]) -> Columns:
    return await select(
        store,
        "SELECT run, key, s.kind AS kind, uniqExact(s.step) AS count, max(s.step) AS last,"
        f" argMax(if(length(s.json) <= {_MAX_JSON_BYTES}, s.json, 'null'), s.step) AS text"
        f" FROM (SELECT run, key, toString(kind) AS kind, step, json FROM {DATABASE}.values"
        f" WHERE key BETWEEN {int(min(names))} AND {int(max(names))} AND kind != 'alert'"
        f" AND {where}) AS s GROUP BY run, key, s.kind",
    )


async def _read_rows(store: PointStore, where: str) -> Columns:
    return await select(
        store,
        "SELECT run, uniqExact(step) AS rows, argMax(t, step) AS at, max(step) AS last"
        f" FROM {DATABASE}.times WHERE {where} GROUP BY run",
    )


def _decoded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _tuples(columns: Columns, *names: str) -> list[tuple[Any, ...]]:
    if not columns:
        return []
    return list(zip(*(np.asarray(columns[name], object).tolist() for name in names), strict=True))
