"""Summaries: the value that each key of a run logged last."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from penstock_storage.charts.attempts import LaneId
from penstock_storage.charts.series import LastValues, int_list, read_last_values, select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import Columns, LaneRow, PointStore
from penstock_storage.readers.rows import json_number, json_value

__all__ = ["Summary", "read_last_step", "read_summaries"]

_RUNS_PER_STATEMENT = 5_000
_MAX_JSON_BYTES = 4_096
_SCALARS = "'string', 'bool', 'null'"


@dataclass(slots=True)
class Summary:
    """The last values of one run by key, as JSON."""

    last_step: int | None = None
    values: dict[str, Any] = field(default_factory=dict)
    not_finite: set[str] = field(default_factory=set)
    """Keys whose value is a number that JSON expresses as text: NaN, Infinity or -Infinity."""


async def read_summaries(
    store: PointStore,
    runs: Sequence[int],
    lanes: Sequence[LaneRow],
    names: Mapping[int, str],
    *,
    scalars_only: bool = False,
    keys: Collection[int] | None = None,
    is_system: bool = False,
) -> dict[int, Summary]:
    """The summaries of these runs, by run number; runs without data are absent.

    Of several lanes the lowest rank's latest one counts. `names` are keys by number. Values other than
    numbers are left out if they are large or, with `scalars_only`, not scalars. `keys`: only these, in
    any lane (default: all but system metrics; only those with `is_system`). The last step is that of
    the script's history, with `is_system` that of the system metrics.
    """
    order = sorted(lanes, key=LaneRow.precedence)
    places = {(lane.run, lane.lane): place for place, lane in enumerate(order)}
    others = {(lane.run, lane.lane) for lane in lanes if lane.is_system != is_system}
    found: dict[int, Summary] = {}
    for start in range(0, len(runs), _RUNS_PER_STATEMENT):
        some = runs[start : start + _RUNS_PER_STATEMENT]
        if keys is None:
            steps: dict[int, int] = {}
        else:
            steps = await _read_last_steps(store, some, others)
            found |= {run: Summary(step) for run, step in steps.items()}
            if not keys:
                continue
        numbers, texts = await asyncio.gather(
            read_last_values(store, some, keys), _read_texts(store, some, keys, scalars_only)
        )
        left_out = others if keys is None else set()
        read = await asyncio.to_thread(_put_together, numbers, texts, places, names, left_out)
        for run, summary in read.items():
            summary.last_step = steps.get(run, summary.last_step)
        found |= read
    return found


async def read_last_step(
    store: PointStore, run: int, lanes: Sequence[LaneRow], rank: int
) -> int | None:
    """The highest step that a rank of the run has logged, in any attempt; None if it has logged none."""
    others = {(run, lane.lane) for lane in lanes if lane.is_system or lane.rank != rank}
    return (await _read_last_steps(store, [run], others)).get(run)


async def _read_last_steps(
    store: PointStore, runs: Sequence[int], others: set[LaneId]
) -> dict[int, int]:
    """The highest step of each of these runs, over all keys, without some lanes."""
    within = f"run IN ({int_list(runs)})"
    columns = await select(
        store,
        "SELECT run, lane, max(t.last) AS last FROM ("
        f"SELECT run, lane, max(s.last_step) AS last FROM {DATABASE}.series AS s"
        f" WHERE {within} GROUP BY run, lane"
        f" UNION ALL SELECT run, lane, max(step) AS last FROM {DATABASE}.values"
        f" WHERE {within} AND kind != 'alert' GROUP BY run, lane"
        ") AS t GROUP BY run, lane",
    )
    found: dict[int, int] = {}
    if columns:
        names = ("run", "lane", "last")
        rows = zip(*(np.asarray(columns[name]).tolist() for name in names), strict=True)
        for run, lane, last in rows:
            if (run, lane) not in others:
                found[run] = max(last, found.get(run, last))
    return found


async def _read_texts(
    store: PointStore, runs: Sequence[int], keys: Collection[int] | None, scalars_only: bool
) -> Columns:
    within = f"run IN ({int_list(runs)}) AND kind != 'alert'"
    if keys is not None:
        within += f" AND key IN ({int_list(keys)})"
    if scalars_only:
        within += f" AND kind IN ({_SCALARS})"
    return await select(
        store,
        "SELECT run, key, lane, max(s.step) AS last_step, argMax(s.json, s.step) AS text"
        f" FROM (SELECT run, key, lane, step, if(length(json) <= {_MAX_JSON_BYTES}, json, '') AS json"
        f" FROM {DATABASE}.values FINAL WHERE {within}) AS s"
        " GROUP BY run, key, lane",
    )


def _put_together(
    numbers: LastValues,
    texts: Columns,
    places: Mapping[tuple[int, int], int],
    names: Mapping[int, str],
    left_out: set[LaneId],
) -> dict[int, Summary]:
    found: dict[int, Summary] = {}
    rows = list(zip(numbers.run.tolist(), numbers.lane.tolist(), strict=True))
    place = np.array([places.get(row, len(places)) for row in rows], np.int64)
    order = np.lexsort((place, numbers.key, numbers.run))
    if left_out:
        counts = np.array([row not in left_out for row in rows], np.bool_)
        order = order[counts[order]]
    run, key, step, kinds = (
        column[order].tolist() for column in (numbers.run, numbers.key, numbers.step, numbers.kinds)
    )
    value = numbers.value[order].tolist()
    steps: dict[tuple[int, int], int] = {}
    for at in range(len(run)):
        summary = found.setdefault(run[at], Summary())
        if summary.last_step is None or step[at] > summary.last_step:
            summary.last_step = step[at]
        if (run[at], key[at]) not in steps and key[at] in names:
            steps[run[at], key[at]] = step[at]
            summary.values[names[key[at]]] = json_number(value[at], kinds[at])
            if not math.isfinite(value[at]):
                summary.not_finite.add(names[key[at]])
    if texts:
        _add_texts(found, texts, places, names, steps, left_out)
    return found


def _add_texts(
    found: dict[int, Summary],
    texts: Columns,
    places: Mapping[tuple[int, int], int],
    names: Mapping[int, str],
    steps: dict[tuple[int, int], int],
    left_out: set[LaneId],
) -> None:
    columns = (np.asarray(texts[name]).tolist() for name in ("run", "key", "lane", "last_step"))
    rows = sorted(
        zip(*columns, texts["text"], strict=True),
        key=lambda row: (*row[:2], places.get((row[0], row[2]), len(places))),
    )
    seen: set[tuple[int, int]] = set()
    for run, key, lane, step, text in rows:
        if (run, lane) in left_out:
            continue
        summary = found.setdefault(run, Summary())
        summary.last_step = max(step, step if summary.last_step is None else summary.last_step)
        if (run, key) in seen or key not in names or not text:
            continue
        seen.add((run, key))
        # A key with numbers too shows what was logged last.
        if step >= steps.get((run, key), step):
            summary.values[names[key]] = json_value(text)
            summary.not_finite.discard(names[key])
