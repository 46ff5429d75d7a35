"""An even sample of a run's rows, if there are too many.

Finding the steps with rows costs one column of integers; only the sampled rows are read completely.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from penstock_storage.charts.series import int_list, select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import Columns, PointStore
from penstock_storage.readers.history import HistoryQuery, read_ends, read_history

__all__ = ["lane_condition", "read_sampled", "read_steps", "thinned"]

I64 = npt.NDArray[np.int64]


async def read_sampled(
    store: PointStore, query: HistoryQuery, rows: int
) -> AsyncGenerator[bytes, None]:
    """JSON lines like those of `read_history`: all if there are at most `rows`, else an even sample of that
    size, with the first and the last."""
    if rows < 1:
        return
    if query.hi - query.lo > rows:
        steps = await read_steps(store, query)
        if len(steps) > rows:
            query = replace(query, steps=thinned(steps, rows).tolist())
    async for chunk in read_history(store, query):
        yield chunk


def thinned(steps: I64, count: int) -> I64:
    """`count` (at least 1) of these, which are more, evenly spaced."""
    places = np.linspace(0, len(steps) - 1, count).round().astype(np.int64)
    return steps[places]


async def read_steps(store: PointStore, query: HistoryQuery) -> I64:
    """The steps with rows, ascending: those at which all requested keys were logged, or any key if none is
    requested."""
    lanes = query.own_lanes()
    if not lanes:
        return np.empty(0, np.int64)
    ends = await read_ends(store, query)
    where = (
        f"run = {int(query.run)} AND step >= {int(query.lo)} AND step < {int(query.hi)}"
        f" AND {lane_condition([lane.lane for lane in lanes], ends)}"
    )
    if not query.keys:
        return _union(
            *await asyncio.gather(*(select(store, sql) for sql in _any_key(query, where)))
        )
    found: I64 | None = None
    for key in dict.fromkeys(
        query.keys
    ):  # one by one: the columns of many keys would not fit into memory
        steps = _union(*await asyncio.gather(*(select(store, sql) for sql in _one_key(key, where))))
        found = steps if found is None else np.intersect1d(found, steps, assume_unique=True)
        if not len(found):
            break
    return np.empty(0, np.int64) if found is None else found


def lane_condition(lanes: list[int], ends: dict[int, int]) -> str:
    """SQL: the row is in one of these lanes (at least one), before its end if it has one."""
    whole = [lane for lane in lanes if lane not in ends]
    parts = [f"lane IN ({int_list(whole)})"] if whole else []
    parts += [
        f"(lane = {int(lane)} AND step < {int(ends[lane])})" for lane in lanes if lane in ends
    ]
    return f"({' OR '.join(parts)})"


def _any_key(query: HistoryQuery, where: str) -> Iterator[str]:
    yield f"SELECT step FROM {DATABASE}.times WHERE {where}"
    if query.names:  # values have no row in times
        yield (
            f"SELECT DISTINCT step FROM {DATABASE}.values WHERE key"
            f" BETWEEN {int(min(query.names))} AND {int(max(query.names))} AND kind != 'alert'"
            f" AND {where}"
        )


def _one_key(key: int, where: str) -> Iterator[str]:
    for table in ("points", "values"):
        yield f"SELECT step FROM {DATABASE}.{table} WHERE key = {int(key)} AND {where}"


def _union(*found: Columns) -> I64:
    return np.unique(np.concatenate([np.asarray(each.get("step", ()), np.int64) for each in found]))
