"""First values and extremes of a key: for comparing many runs by one metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from penstock_storage.charts.series import int_list, select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import LaneRow, PointStore

__all__ = ["read_extremes", "read_first_values"]

_MAX_POINTS = 50_000


async def read_first_values(
    store: PointStore, runs: Sequence[int], lanes: Sequence[LaneRow], key: int, most: int
) -> dict[int, list[float]]:
    """The first finite values of the key in step order, by run number: at most `most` of each run, and
    never more than 50,000. Runs without any are absent.

    Of several lanes the lowest rank's latest one counts, as in a run's summary.
    """
    order = sorted(lanes, key=LaneRow.precedence)
    places = {(lane.run, lane.lane): place for place, lane in enumerate(order)}
    columns = await select(
        store,
        f"SELECT run, lane, step, argMax(p.v, p.seq) AS value FROM {DATABASE}.points AS p"
        f" WHERE key = {int(key)} AND run IN ({int_list(runs)}) GROUP BY run, lane, step"
        f" ORDER BY run, step LIMIT {min(int(most), _MAX_POINTS)} BY run, lane",
    )
    if not columns:
        return {}
    names = ("run", "lane", "step", "value")
    rows = zip(*(np.asarray(columns[name]).tolist() for name in names), strict=True)
    steps: dict[int, dict[int, tuple[int, float]]] = {}
    for run, lane, step, value in rows:
        place = places.get((run, lane), len(places))
        of_run = steps.setdefault(run, {})
        if math.isfinite(value) and (step not in of_run or place < of_run[step][0]):
            of_run[step] = (place, value)
    return {
        run: [value for _, (_, value) in sorted(of_run.items())][:most]
        for run, of_run in steps.items()
        if of_run
    }


async def read_extremes(
    store: PointStore, runs: Sequence[int], key: int
) -> dict[int, tuple[float, float]]:
    """By run number, the lowest and the highest finite value of the key, over all lanes."""
    columns = await select(
        store,
        f"SELECT run, min(p.v) AS low, max(p.v) AS high FROM {DATABASE}.points AS p FINAL"
        f" WHERE key = {int(key)} AND run IN ({int_list(runs)}) AND isFinite(p.v) GROUP BY run",
    )
    if not columns:
        return {}
    run, low, high = (np.asarray(columns[name]).tolist() for name in ("run", "low", "high"))
    return dict(zip(run, zip(low, high, strict=True), strict=True))
