"""Reads the `times` table: when a lane reached a step, and which steps lie in a span of time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstock_storage.charts.attempts import LaneId
from penstock_storage.charts.plan import FOREVER, Range
from penstock_storage.charts.series import int_list, select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import PointStore

__all__ = ["Places", "read_step_ranges", "read_times"]

I64 = npt.NDArray[np.int64]
_MAX_STEPS = 10_000
_MAX_WASTE = 4


@dataclass(frozen=True, slots=True)
class Places:
    """Points in runs, as columns."""

    run: npt.NDArray[np.uint32]
    lane: npt.NDArray[np.uint16]
    step: I64


async def read_step_ranges(
    store: PointStore,
    runs: Collection[int],
    from_us: int | None,
    to_us: int | None,
    origins_us: Mapping[int, int] | None = None,
) -> dict[LaneId, Range]:
    """From the first step logged at or after `from_us` to the last one logged at or before `to_us`, by
    lane; lanes without steps in between are absent. With `origins_us` times are relative to each run's
    own origin."""
    lo = -FOREVER if from_us is None else from_us
    hi = FOREVER if to_us is None else to_us
    time = "t"
    if origins_us:
        numbers, origins = int_list(origins_us), int_list(origins_us.values())
        time = (
            f"t - transform(run, CAST([{numbers}] AS Array(UInt32)),"
            f" CAST([{origins}] AS Array(Int64)), toInt64(0))"
        )
    columns = await select(
        store,
        "SELECT run, lane, min(step) AS first, max(step) AS last"
        f" FROM {DATABASE}.times FINAL WHERE run IN ({int_list(runs)})"
        f" AND {time} >= {int(lo)} AND {time} <= {int(hi)} GROUP BY run, lane",
    )
    if not columns:
        return {}
    rows = (np.asarray(columns[name]).tolist() for name in ("run", "lane", "first", "last"))
    return {
        (run, lane): Range(first, last + 1) for run, lane, first, last in zip(*rows, strict=True)
    }


async def read_times(store: PointStore, places: Places) -> npt.NDArray[np.float64]:
    """Unix seconds of each place; NaN if its lane logged nothing at that step."""
    seconds = np.full(len(places.step), np.nan)
    if not len(seconds):
        return seconds
    # One number for each (run, lane), so that one comparison matches places with rows.
    lanes = places.run.astype(np.int64) << 16 | places.lane
    for found in await asyncio.gather(
        *(_read_batch(store, lanes[rows], places.step[rows], rows) for rows in _batches(places))
    ):
        rows, values = found
        seconds[rows] = values
    return seconds


def _batches(places: Places) -> Iterator[I64]:
    """Places by run, grouped as long as they need nearly the same steps."""
    order = np.argsort(places.run, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(places.run[order])) + 1)
    batch: list[I64] = []
    steps, asked = np.empty(0, np.int64), 0
    for rows in runs:
        union = np.union1d(steps, places.step[rows])
        wasteful = len(union) * (len(batch) + 1) > _MAX_WASTE * (asked + len(rows))
        if batch and (len(union) > _MAX_STEPS or wasteful):
            yield np.concatenate(batch)
            batch, asked, union = [], 0, np.unique(places.step[rows])
        batch.append(rows)
        steps, asked = union, asked + len(rows)
    yield np.concatenate(batch)


async def _read_batch(
    store: PointStore, lanes: I64, steps: I64, rows: I64
) -> tuple[I64, npt.NDArray[np.float64]]:
    values = np.full(len(rows), np.nan)
    asked = np.unique(steps)
    for start in range(0, len(asked), _MAX_STEPS):
        some = asked[start : start + _MAX_STEPS]
        columns = await select(
            store,
            f"SELECT run, lane, step, t FROM {DATABASE}.times FINAL"
            f" PREWHERE run IN ({int_list(np.unique(lanes >> 16))})"
            f" AND lane IN ({int_list(np.unique(lanes & 0xFFFF))})"
            f" AND step IN ({int_list(some)})",
        )
        if not columns:
            continue
        known, place = np.unique(lanes, return_inverse=True)
        found = np.asarray(columns["run"], np.int64) << 16 | columns["lane"]
        at = np.minimum(np.searchsorted(known, found), len(known) - 1)
        mine = known[at] == found
        have = at[mine] * len(asked) + np.searchsorted(asked, columns["step"][mine])
        order = np.argsort(have)
        want = place * len(asked) + np.searchsorted(asked, steps)
        index = np.minimum(np.searchsorted(have[order], want), len(have) - 1)
        hit = have[order][index] == want
        values[hit] = np.asarray(columns["t"], np.float64)[mine][order][index][hit] / 1e6
    return rows, values
