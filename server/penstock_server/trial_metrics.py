"""The metrics of trials' runs, read from the catalog and the point store."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from penstock_common.queue.demand import no_demand
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import PointStore
from penstock_storage.readers.first_values import read_extremes, read_first_values
from penstock_storage.readers.summaries import read_summaries

__all__ = ["StoredMetrics"]


class StoredMetrics:
    """`penstock_sweeps.metrics.TrialMetrics` over the stores."""

    def __init__(
        self,
        catalog: Catalog,
        store: PointStore,
        note_read: Callable[[], Awaitable[None]] = no_demand,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._note_read = note_read

    async def values(
        self, project: int, runs: Sequence[int], metric: str, goal: str
    ) -> dict[int, float]:
        await self._note_read()
        found: dict[int, float] = {}
        extreme: dict[int, int] = {}
        for number, row in (await self._catalog.run_rows(runs)).items():
            value = _stated(row.summary, metric, goal)
            if value is not None:
                found[number] = value
            elif (place := _extreme(row.info, metric, goal)) is not None:
                extreme[number] = place
        left = [run for run in runs if run not in found]
        key = (await self._catalog.key_numbers(project, [metric])).get(metric)
        if key is None or not left:
            return found
        lanes = await self._catalog.lanes(left)
        summaries = await read_summaries(
            self._store, left, lanes, {key: metric}, scalars_only=True, keys=[key]
        )
        if extreme:
            ends = await read_extremes(self._store, list(extreme), key)
            found |= {run: ends[run][place] for run, place in extreme.items() if run in ends}
        for run, summary in summaries.items():
            value = _number(summary.values.get(metric))
            if value is not None:
                found.setdefault(run, value)
        return found

    async def curves(
        self, project: int, runs: Sequence[int], metric: str, most: int
    ) -> dict[int, list[float]]:
        await self._note_read()
        key = (await self._catalog.key_numbers(project, [metric])).get(metric)
        if key is None or not runs:
            return {}
        return await read_first_values(
            self._store, runs, await self._catalog.lanes(runs), key, most
        )


def _stated(summary: Mapping[str, Any], metric: str, goal: str) -> float | None:
    """The metric in an explicitly set summary: by its name, nested, or as an object of the aggregates
    requested with `define_metric`."""
    found: Any = summary.get(metric)
    if found is None and "." in metric:
        found = summary
        for part in metric.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, Mapping):
        kinds = ("max" if goal == "maximize" else "min", "best", "last", "mean")
        found = next((found[kind] for kind in kinds if kind in found), None)
    return _number(found)


def _extreme(info: Mapping[str, Any], metric: str, goal: str) -> int | None:
    """Whether a run's rule for the metric selects its lowest (0) or highest (1) value."""
    rules = info.get("define_metric")
    rule = rules.get(metric) if isinstance(rules, Mapping) else None
    kinds = str(rule.get("summary") or "").split(",") if isinstance(rule, Mapping) else []
    if "best" in kinds:
        return int(goal == "maximize")
    return 0 if "min" in kinds else 1 if "max" in kinds else None


def _number(found: Any) -> float | None:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        number = float(found)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
