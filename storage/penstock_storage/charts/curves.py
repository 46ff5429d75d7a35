"""Chart queries and results: curves, or groups of them, extracted from folded cells. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from penstock_storage.charts.aggregate import Aggregate, Membership
from penstock_storage.charts.partials import CELL_BITS, Curves, Partials
from penstock_storage.clickhouse.aggregates import reply_columns
from penstock_storage.contracts.interface import LaneRow

__all__ = [
    "Axis", "Chart", "ChartQuery", "Curve", "LaneMode", "curve_numbers", "cut_curves", "membership",
]  # fmt: skip

LaneMode = Literal["latest", "rank", "all"]
Axis = Literal["step", "_timestamp", "relative"]
"""`relative`: seconds since the run began."""

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChartQuery:
    """Runs and keys by number. `lo`, `hi`: inclusive, in steps, or in seconds of the other axes.

    With `groups` (label to runs, all of them in `runs`) or `over_ranks` the answer is aggregated:
    over the runs of each group, or over the ranks of each run.
    """

    runs: Sequence[int]
    keys: Sequence[int]
    buckets: int = 500
    mode: LaneMode = "latest"
    x: Axis = "step"
    lo: float | None = None
    hi: float | None = None
    groups: Mapping[str, Sequence[int]] | None = None
    over_ranks: bool = False

    @property
    def is_aggregated(self) -> bool:
        return self.over_ranks or self.groups is not None


@dataclass(frozen=True, slots=True)
class Curve:
    """`columns`, by their names in replies, have a row per bucket with a point, ordered by bucket. NaN means:
    no value.

    `lane` and `rank` are set where curves are per lane, `rank` alone where they are per rank.
    """

    key: int
    run: int
    lane: int | None
    rank: int | None
    columns: Mapping[str, npt.NDArray[Any]]

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]


@dataclass(frozen=True, slots=True)
class Chart:
    """`width`: steps per bucket. An aggregated chart has `groups` instead of `curves`: named (key,
    label) or, over ranks, (key, run)."""

    width: int
    curves: list[Curve]
    groups: list[Aggregate] = field(default_factory=list)


def curve_numbers(mode: LaneMode, lanes: Sequence[LaneRow]) -> Curves:
    """The curve of each series."""
    ranks = {(lane.run, lane.lane): lane.rank for lane in lanes}
    if mode == "latest":
        return Curves(lambda key, run, _: (key, run, None), ranks)
    if mode == "all":
        return Curves(lambda key, run, lane: (key, run, lane))
    return Curves(lambda key, run, lane: (key, run, ranks.get((run, lane), 0)))


def membership(query: ChartQuery, curves: Curves) -> Membership:
    """Which curves are aggregated together: by group label, or by run."""
    labels: dict[int, list[str | int]] = {}
    for label, runs in (query.groups or {}).items():
        for run in set(runs):
            labels.setdefault(run, []).append(label)
    names: dict[tuple[int, str | int], int] = {}
    pairs: list[tuple[int, int]] = []
    for number, (key, run, _) in enumerate(curves.ids):
        members: Sequence[str | int] = (run,) if query.groups is None else labels.get(run, ())
        for member in members:
            pairs.append((names.setdefault((key, member), len(names)), number))
    group, curve = np.array(pairs, np.int64).reshape(-1, 2).T
    return Membership(list(names), group, curve)


def cut_curves(
    cells: Partials, curves: Curves, x: F64 | None, lanes: Sequence[LaneRow], mode: LaneMode
) -> list[Curve]:
    """The curves in cells (ordered by cell); `x` in seconds, or None for steps."""
    number = cells.cell >> CELL_BITS
    bounds = np.flatnonzero(np.diff(number, prepend=-1, append=-1)).tolist()
    columns = reply_columns(cells.columns)
    columns["x"] = columns["step"] if x is None else x
    ranks = {(lane.run, lane.lane): lane.rank for lane in lanes}
    found = []
    for start, stop in pairwise(bounds):
        key, run, sub = curves.ids[number[start]]
        at = slice(start, stop)
        found.append(
            Curve(
                key=key,
                run=run,
                lane=sub if mode == "all" else None,
                rank=ranks.get((run, sub)) if mode == "all" and sub is not None else sub,
                columns={name: column[at] for name, column in columns.items()},
            )
        )
    return found
