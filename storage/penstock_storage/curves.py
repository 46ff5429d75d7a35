"""What a chart is asked for and answers: curves, cut out of folded cells (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from penstock_storage.interface import LaneRow
from penstock_storage.partials import CELL_BITS, Curves, Partials

__all__ = ["Chart", "ChartQuery", "Curve", "LaneMode", "curve_numbers", "cut_curves"]

LaneMode = Literal["latest", "rank", "all"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ChartQuery:
    """Runs and keys by number. `lo`, `hi`: inclusive, in steps, or in seconds for `_timestamp`."""

    runs: Sequence[int]
    keys: Sequence[int]
    buckets: int = 500
    mode: LaneMode = "latest"
    x: Literal["step", "_timestamp"] = "step"
    lo: float | None = None
    hi: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """Columns, one row per bucket that holds a point, by bucket. NaN means that there is none.

    `lane` and `rank` are set where curves are per lane, `rank` alone where they are per rank.
    """

    key: int
    run: int
    lane: int | None
    rank: int | None
    step: I64
    x: F64 | I64
    min: F64
    max: F64
    mean: F64
    last: F64
    count: I64
    non_finite: I64
    first_step: I64


@dataclass(frozen=True, slots=True)
class Chart:
    """`width`: steps per bucket."""

    width: int
    curves: list[Curve]


def curve_numbers(mode: LaneMode, lanes: Sequence[LaneRow]) -> Curves:
    """Which curve each series belongs to."""
    if mode == "latest":
        return Curves(lambda key, run, _: (key, run, None))
    if mode == "all":
        return Curves(lambda key, run, lane: (key, run, lane))
    ranks = {(lane.run, lane.lane): lane.rank for lane in lanes}
    return Curves(lambda key, run, lane: (key, run, ranks.get((run, lane), 0)))


def cut_curves(
    cells: Partials, curves: Curves, x: F64 | None, lanes: Sequence[LaneRow], mode: LaneMode
) -> list[Curve]:
    """The curves that cells ordered by cell hold; `x` in seconds, or None for steps."""
    number = cells.cell >> CELL_BITS
    bounds = np.flatnonzero(np.diff(number, prepend=-1, append=-1)).tolist()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = cells.sum / cells.count
    low = np.where(cells.count > 0, cells.min, np.nan)
    high = np.where(cells.count > 0, cells.max, np.nan)
    last = np.where(np.isfinite(cells.last), cells.last, np.nan)
    places = cells.last_step if x is None else x
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
                step=cells.last_step[at],
                x=places[at],
                min=low[at],
                max=high[at],
                mean=mean[at],
                last=last[at],
                count=cells.count[at],
                non_finite=cells.non_finite[at],
                first_step=cells.first_step[at],
            )
        )
    return found
