"""Folds points and tier rows into chart buckets, and merges folds. Pure numpy.

A cell is one bucket of one curve, as one integer: the curve's number, then the bucket's. Folds of
different lanes, tiers and points of the same cell merge exactly: extremes and sums over finite
values, and the value at the greatest step, whichever source it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from penstock_storage.contracts.interface import Columns

__all__ = [
    "CELL_BITS", "CurveId", "Curves", "Partials", "fold_points", "fold_rows", "in_order", "merge",
]  # fmt: skip

CELL_BITS = 32
"""The bits of a cell for the bucket, counted from the chart's first."""

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
CurveId = tuple[int, int, int | None]
"""(key, run, lane or rank; None if lanes are merged)"""


class Curves:
    """Numbers curves as their series appear: `curve_of` returns the curve of a series.

    `ranks` are those of (run, lane): where lanes of a curve reach the same step, the lowest rank's
    value counts.
    """

    def __init__(
        self,
        curve_of: Callable[[int, int, int], CurveId],
        ranks: Mapping[tuple[int, int], int] | None = None,
    ) -> None:
        self._curve_of = curve_of
        self.ranks = ranks or {}
        self._numbers: dict[CurveId, int] = {}

    def begin_with(self, ids: Sequence[CurveId]) -> None:
        """Number these curves first, in this order."""
        self._numbers = {each: number for number, each in enumerate(ids)}

    @property
    def ids(self) -> list[CurveId]:
        """The curves by number."""
        return list(self._numbers)

    def number(self, rows: Columns) -> tuple[I64, I64, npt.NDArray[np.bool_]]:
        """Curve and rank of each row, and where each series begins: rows come in long stretches of one
        series."""
        key, run, lane = (np.asarray(rows[name]) for name in ("key", "run", "lane"))
        begins = np.empty(len(key), bool)
        begins[:1] = True
        begins[1:] = (key[1:] != key[:-1]) | (run[1:] != run[:-1]) | (lane[1:] != lane[:-1])
        starts = np.flatnonzero(begins)
        runs, lanes = run[starts].tolist(), lane[starts].tolist()
        curves = [
            self._numbers.setdefault(self._curve_of(*series), len(self._numbers))
            for series in zip(key[starts].tolist(), runs, lanes, strict=True)
        ]
        ranks = [self.ranks.get(place, 0) for place in zip(runs, lanes, strict=True)]
        lengths = np.diff(starts, append=len(key))
        curve, rank = (np.repeat(np.array(each, np.int64), lengths) for each in (curves, ranks))
        return curve, rank, begins


@dataclass(frozen=True, slots=True)
class Partials:
    """One row per cell and source. Where `count` is 0, min and max are +inf and -inf."""

    cell: I64
    rank: I64
    lane: npt.NDArray[np.uint16]
    min: F64
    max: F64
    sum: F64
    count: I64
    non_finite: I64
    last: F64
    first_step: I64
    last_step: I64

    def __len__(self) -> int:
        return len(self.cell)


def fold_points(rows: Columns, curves: Curves, shift: int, first_bucket: int) -> Partials:
    """Points ordered by (key, run, lane, step), folded into buckets of 2^shift steps."""
    step, v = np.asarray(rows["step"]), np.asarray(rows["v"])
    cell, rank, begins = _cells(rows, curves, step >> shift, first_bucket)
    starts, ends = _runs(cell, begins)
    finite = np.isfinite(v)
    count = np.diff(starts, append=len(v))
    if finite.all():
        low = high = total = v
        good = count
    else:
        low, high = np.where(finite, v, np.inf), np.where(finite, v, -np.inf)
        total = np.where(finite, v, 0.0)
        good = np.add.reduceat(finite, starts, dtype=np.int64)
    return Partials(
        cell=cell[starts],
        rank=rank[starts],
        lane=np.asarray(rows["lane"])[starts],
        min=np.minimum.reduceat(low, starts),
        max=np.maximum.reduceat(high, starts),
        sum=np.add.reduceat(total, starts),
        count=good,
        non_finite=count - good,
        last=v[ends],
        first_step=step[starts],
        last_step=step[ends],
    )


def fold_rows(rows: Columns, curves: Curves, shift: int, first_bucket: int) -> Partials:
    """Rows that each aggregate steps of one bucket, in any order; one cell row for each."""
    first_step = np.asarray(rows["first_step"])
    count = np.asarray(rows["count"], np.int64)
    low, high = np.asarray(rows["min"]), np.asarray(rows["max"])
    if not (count > 0).all():
        low, high = np.where(count > 0, low, np.inf), np.where(count > 0, high, -np.inf)
    cell, rank, _ = _cells(rows, curves, first_step >> shift, first_bucket)
    return Partials(
        cell=cell,
        rank=rank,
        lane=np.asarray(rows["lane"]),
        min=low,
        max=high,
        sum=np.asarray(rows["sum"], np.float64),
        count=count,
        non_finite=np.asarray(rows["non_finite"], np.int64),
        last=np.asarray(rows["last"]),
        first_step=first_step,
        last_step=np.asarray(rows["last_step"]),
    )


def in_order(rows: Columns, place: str) -> Columns:
    """The rows ordered by (key, run, lane, `place`); free if they already are."""
    columns = [np.asarray(rows[name]) for name in (place, "lane", "run", "key")]
    rises = np.ones(max(0, len(columns[0]) - 1), bool)
    for column in columns:
        rises = (column[1:] > column[:-1]) | ((column[1:] == column[:-1]) & rises)
    if rises.all():
        return rows
    order = np.lexsort(columns)
    return {name: np.asarray(column)[order] for name, column in rows.items()}


def merge(parts: Sequence[Partials]) -> Partials:
    """One row per cell, ordered by cell. Of values at the same greatest step, the lowest rank's."""
    whole = parts[0] if len(parts) == 1 else _concatenate(parts)
    if bool((whole.cell[1:] > whole.cell[:-1]).all()):
        return whole
    order = _by_cell(whole)
    rows = Partials(*(getattr(whole, field.name)[order] for field in fields(Partials)))
    starts, ends = _runs(rows.cell, np.zeros(len(order), bool))
    if len(starts) == len(rows):
        return rows
    return Partials(
        cell=rows.cell[starts],
        rank=rows.rank[ends],
        lane=rows.lane[ends],
        min=np.minimum.reduceat(rows.min, starts),
        max=np.maximum.reduceat(rows.max, starts),
        sum=np.add.reduceat(rows.sum, starts),
        count=np.add.reduceat(rows.count, starts),
        non_finite=np.add.reduceat(rows.non_finite, starts),
        last=rows.last[ends],
        first_step=np.minimum.reduceat(rows.first_step, starts),
        last_step=rows.last_step[ends],
    )


def _by_cell(rows: Partials) -> I64:
    """An order by cell, and within a cell by last step, the lowest rank last (of one rank, the lowest
    lane). A stable sort of ordered stretches is many times as fast as a sort by all of these, which
    few cells need."""
    order = np.argsort(rows.cell, kind="stable")
    cell, step = rows.cell[order], rows.last_step[order]
    place = _place(rows, order)
    same = cell[1:] == cell[:-1]
    rises = (step[1:] > step[:-1]) | ((step[1:] == step[:-1]) & (place[1:] < place[:-1]))
    wrong = np.flatnonzero(same & ~rises)
    if len(wrong):
        number = np.append(0, np.cumsum(~same))
        is_wrong = np.zeros(number[-1] + 1, bool)
        is_wrong[number[wrong]] = True
        at = np.flatnonzero(is_wrong[number])
        some = order[at]
        by = (-_place(rows, some), rows.last_step[some], rows.cell[some])
        order[at] = some[np.lexsort(by)]
    return order


def _place(rows: Partials, order: I64) -> I64:
    """Rank and lane as one number: the least takes precedence."""
    return (rows.rank[order] << 16) | rows.lane[order]


def _cells(
    rows: Columns, curves: Curves, bucket: I64, first_bucket: int
) -> tuple[I64, I64, npt.NDArray[np.bool_]]:
    curve, rank, begins = curves.number(rows)
    return (curve << CELL_BITS) + (bucket - first_bucket), rank, begins


def _runs(cell: I64, begins: npt.NDArray[np.bool_]) -> tuple[I64, I64]:
    """The first and the last index of each stretch of equal cells, split further by `begins`."""
    begins = begins.copy()
    begins[:1] = True
    begins[1:] |= cell[1:] != cell[:-1]
    starts = np.flatnonzero(begins)
    return starts, np.append(starts[1:], len(cell)) - 1


def _concatenate(parts: Sequence[Partials]) -> Partials:
    columns = (np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Partials))
    return Partials(*columns)
