"""What a run's keys hold, one by one: how many values of which type, the last one, and whether they
ever fall.

Counting looks at every step of every key, so it is exact for runs of up to a million points; of
larger ones a count is how many steps lie between a key's first and last, and nothing is said of
falling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from penstock_storage.interface import Columns, LaneRow, PointStore
from penstock_storage.rows import json_number
from penstock_storage.sampling import lane_condition
from penstock_storage.schema import DATABASE
from penstock_storage.segments import cuts
from penstock_storage.series import int_list, select

__all__ = ["KeyFacts", "RunFacts", "read_key_facts"]

_MOST_POINTS = 1_000_000
_MOST_JSON_BYTES = 4_096
_KEYS_IN_STATEMENT = 5_000


@dataclass(slots=True)
class KeyFacts:
    """One key: how often it has a value of a type (`number`, or the kind of a value), and the last
    value as JSON carries it."""

    counts: dict[str, int] = field(default_factory=dict)
    last: Any = None
    never_falls: bool = False


@dataclass(slots=True)
class RunFacts:
    """`rows`: how many steps have a row; `last_at`: when the last one was logged, µs since 1970."""

    keys: dict[str, KeyFacts] = field(default_factory=dict)
    last_step: int | None = None
    last_at: int | None = None
    rows: int = 0


@dataclass(frozen=True, slots=True)
class _Series:
    key: int
    lane: int
    first: int
    last: int
    value: float
    kinds: int


async def read_key_facts(
    store: PointStore, run: int, lanes: Sequence[LaneRow], names: Mapping[int, str]
) -> RunFacts:
    """What one run's latest attempt logged. `names` are the project's keys by number."""
    own = sorted(
        (lane for lane in lanes if not lane.is_system),
        key=lambda lane: (lane.rank, -lane.started, lane.lane),
    )
    facts = RunFacts()
    if not own or not names:
        return facts
    series = await _read_series(store, run, own)
    ends = _ends(own, series)
    where = f"run = {int(run)} AND {lane_condition([lane.lane for lane in own], ends)}"
    shown = [each for each in series if each.first < ends.get(each.lane, each.first + 1)]
    spans = {
        each: min(each.last, ends.get(each.lane, 2**62) - 1) - each.first + 1 for each in shown
    }
    is_small = sum(spans.values()) <= _MOST_POINTS
    counted, texts, rows = await asyncio.gather(
        _count(store, where, {each.key for each in shown}) if is_small else _nothing(),
        _read_values(store, where, names),
        _read_rows(store, where, is_exact=is_small),
    )
    places = {lane.lane: place for place, lane in enumerate(own)}
    last_steps = _add_numbers(facts, sorted(shown, key=lambda s: places[s.lane]), spans, names)
    for key, count, rises in _tuples(counted, "key", "count", "rises"):
        if key in names:
            known = facts.keys[names[key]]
            known.counts["number"], known.never_falls = int(count), bool(rises)
    _add_values(facts, texts, last_steps, names)
    for count, at, last in _tuples(rows, "rows", "at", "last"):
        if count:
            facts.rows, facts.last_at = int(count), int(at)
            facts.last_step = max(
                int(last), int(last) if facts.last_step is None else facts.last_step
            )
    return facts


async def _nothing() -> Columns:
    return {}


async def _read_series(store: PointStore, run: int, own: Sequence[LaneRow]) -> list[_Series]:
    columns = await select(
        store,
        "SELECT key, lane, min(s.first_step) AS first, max(s.last_step) AS last,"
        " tupleElement(max(s.last), 2) AS value, groupBitOr(s.kinds) AS kinds"
        f" FROM {DATABASE}.series AS s WHERE run = {int(run)}"
        f" AND lane IN ({int_list(lane.lane for lane in own)}) GROUP BY key, lane",
    )
    return [
        _Series(*row) for row in _tuples(columns, "key", "lane", "first", "last", "value", "kinds")
    ]


def _ends(own: Sequence[LaneRow], series: Sequence[_Series]) -> dict[int, int]:
    first: dict[tuple[int, int], int] = {}
    run = own[0].run
    for each in series:
        first[run, each.lane] = min(each.first, first.get((run, each.lane), each.first))
    return {lane: end for (_, lane), end in cuts(own, first).items()}


def _add_numbers(
    facts: RunFacts,
    shown: Sequence[_Series],
    spans: Mapping[_Series, int],
    names: Mapping[int, str],
) -> dict[int, int]:
    """Adds what is known of the keys that have points; of several lanes the first one's last value
    counts. Returns the step of it by key."""
    steps: dict[int, int] = {}
    for each in shown:
        last = each.first + spans[each] - 1
        facts.last_step = last if facts.last_step is None else max(last, facts.last_step)
        if each.key not in names:
            continue
        known = facts.keys.setdefault(names[each.key], KeyFacts())
        known.counts["number"] = known.counts.get("number", 0) + spans[each]
        if each.key not in steps:
            steps[each.key], known.last = each.last, json_number(each.value, each.kinds)
    return steps


def _add_values(
    facts: RunFacts, texts: Columns, last_steps: Mapping[int, int], names: Mapping[int, str]
) -> None:
    steps = dict(last_steps)
    for key, kind, count, last, text in _tuples(texts, "key", "kind", "count", "last", "text"):
        facts.last_step = last if facts.last_step is None else max(last, facts.last_step)
        if key not in names:
            continue
        known = facts.keys.setdefault(names[key], KeyFacts())
        known.counts[kind] = int(count)
        known.never_falls = False
        if last >= steps.get(key, last):
            steps[key], known.last = last, _decoded(text)


async def _count(store: PointStore, where: str, keys: set[int]) -> Columns:
    if not keys:
        return {}
    within = (
        f"key IN ({int_list(keys)})"
        if len(keys) <= _KEYS_IN_STATEMENT
        else f"key BETWEEN {min(keys)} AND {max(keys)}"
    )
    by_step = "arrayMap(p -> p.2, arraySort(groupArray((step, v))))"
    return await select(
        store,
        "SELECT key, uniqExact(step) AS count,"
        f" toUInt8(arrayAll(d -> d >= 0, arrayDifference({by_step}))) AS rises"
        f" FROM {DATABASE}.points WHERE {within} AND {where} GROUP BY key",
    )


async def _read_values(store: PointStore, where: str, names: Mapping[int, str]) -> Columns:
    return await select(
        store,
        "SELECT key, s.kind AS kind, uniqExact(s.step) AS count, max(s.step) AS last,"
        f" argMax(if(length(s.json) <= {_MOST_JSON_BYTES}, s.json, 'null'), s.step) AS text"
        f" FROM (SELECT key, toString(kind) AS kind, step, json FROM {DATABASE}.values"
        f" WHERE key BETWEEN {int(min(names))} AND {int(max(names))} AND kind != 'alert'"
        f" AND {where}) AS s GROUP BY key, s.kind",
    )


async def _read_rows(store: PointStore, where: str, *, is_exact: bool) -> Columns:
    count = "uniqExact(step)" if is_exact else "count()"
    return await select(
        store,
        f"SELECT {count} AS rows, argMax(t, step) AS at, max(step) AS last"
        f" FROM {DATABASE}.times WHERE {where}",
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
