"""Folds points and tier rows into chart buckets, and merges folds. Pure numpy.

A cell is one bucket of one curve, as one integer: the curve's number, then the bucket's. Folds of
different lanes, tiers and points of the same cell merge exactly: extremes and sums over finite
values, and the value at the greatest step, whichever source it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock_storage.clickhouse.aggregates import CHART_AGGREGATES, BucketPoints
from penstock_storage.contracts.interface import Columns

__all__ = [
    "CELL_BITS", "CurveId", "Curves", "Partials", "fold_points", "fold_rows", "in_order", "merge",
]  # fmt: skip

CELL_BITS = 32
"""The bits of a cell for the bucket, counted from the chart's first."""

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
    """One row per cell and source: `columns` are the `CHART_AGGREGATES` by name. Where `count` is 0, min and
    max are +inf and -inf."""

    cell: I64
    rank: I64
    lane: npt.NDArray[np.uint16]
    columns: dict[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        return len(self.cell)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    @property
    def size_bytes(self) -> int:
        own = self.cell.nbytes + self.rank.nbytes + self.lane.nbytes
        return own + sum(column.nbytes for column in self.columns.values())


def fold_points(rows: Columns, curves: Curves, shift: int, first_bucket: int) -> Partials:
    """Points ordered by (key, run, lane, step), folded into buckets of 2^shift steps."""
    step, v = np.asarray(rows["step"]), np.asarray(rows["v"])
    cell, rank, begins = _cells(rows, curves, step >> shift, first_bucket)
    starts, ends = _runs(cell, begins)
    points = BucketPoints.of(step, v, starts, ends)
    columns = {name: each.fold(points) for name, each in CHART_AGGREGATES.items()}
    return Partials(cell[starts], rank[starts], np.asarray(rows["lane"])[starts], columns)


def fold_rows(rows: Columns, curves: Curves, shift: int, first_bucket: int) -> Partials:
    """Rows that each aggregate steps of one bucket, in any order; one cell row for each."""
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.asarray(rows[name], each.dtype) for name, each in CHART_AGGREGATES.items()
    }
    has_points = columns["count"] > 0
    if not has_points.all():
        for name, each in CHART_AGGREGATES.items():
            if each.neutral is not None:
                columns[name] = np.where(has_points, columns[name], each.neutral)
    cell, rank, _ = _cells(rows, curves, columns["first_step"] >> shift, first_bucket)
    return Partials(cell, rank, np.asarray(rows["lane"]), columns)


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
    columns = {name: column[order] for name, column in whole.columns.items()}
    rows = Partials(whole.cell[order], whole.rank[order], whole.lane[order], columns)
    starts, ends = _runs(rows.cell, np.zeros(len(order), bool))
    if len(starts) == len(rows):
        return rows
    merged = {name: each.merge(rows[name], starts, ends) for name, each in CHART_AGGREGATES.items()}
    return Partials(rows.cell[starts], rows.rank[ends], rows.lane[ends], merged)


def _by_cell(rows: Partials) -> I64:
    """An order by cell, and within a cell by last step, the lowest rank last (of one rank, the lowest
    lane). A stable sort of ordered stretches is many times as fast as a sort by all of these, which
    few cells need."""
    order = np.argsort(rows.cell, kind="stable")
    cell, step = rows.cell[order], rows["last_step"][order]
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
        by = (-_place(rows, some), rows["last_step"][some], rows.cell[some])
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
    return Partials(
        np.concatenate([part.cell for part in parts]),
        np.concatenate([part.rank for part in parts]),
        np.concatenate([part.lane for part in parts]),
        {name: np.concatenate([part[name] for part in parts]) for name in CHART_AGGREGATES},
    )
