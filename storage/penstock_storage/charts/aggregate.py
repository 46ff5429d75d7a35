"""Aggregates many curves into one: mean and spread over the members of a group, per bucket. Pure.

A member is one sample: a run of a group, or a rank of a run. Its sample in a bucket is its mean
there, so that members with more points do not weigh more; extremes are over all points of all members,
so that a spike of a single point stays on the chart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock_storage.charts.partials import CELL_BITS, Partials
from penstock_storage.clickhouse.aggregates import REPLIES

__all__ = ["Aggregate", "Membership", "aggregate"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


class Membership(NamedTuple):
    """The curves of each group: `curve[i]` belongs to `names[group[i]]`. A curve may belong to several
    groups, but only once to each. A name is (key, label) or (key, run)."""

    names: Sequence[tuple[int, str | int]]
    group: I64
    curve: I64


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`columns`, by their names in replies, have a row per bucket with a point of any member. NaN means: no
    value.

    `samples`: members with a finite value in the bucket. `mean` is the mean of their means, `std`
    the sample standard deviation of these (NaN for fewer than two), `stderr` = std / sqrt(samples),
    `last` the mean of the members' last values, `x` the mean of their places. min, max, count,
    non_finite, step (the last) and first_step are over all points.
    """

    name: tuple[int, str | int]
    columns: Mapping[str, npt.NDArray[Any]]

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]


def aggregate(cells: Partials, x: F64 | None, members: Membership) -> list[Aggregate]:
    """The groups with points, in the order of their names. `cells`, one per curve and bucket, are ordered
    by cell; `x`: the place of each, or None for steps."""
    row, group_cell = _rows_of_groups(cells, members)
    if not len(row):
        return []
    starts = np.flatnonzero(np.append(True, group_cell[1:] != group_cell[:-1]))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        columns = _columns(cells, x, row, starts)
    number = group_cell[starts] >> CELL_BITS
    bounds = np.flatnonzero(np.diff(number, prepend=-1, append=-1)).tolist()
    return [
        Aggregate(
            members.names[number[start]],
            {name: column[start:stop] for name, column in columns.items()},
        )
        for start, stop in pairwise(bounds)
    ]


def _columns(cells: Partials, x: F64 | None, row: I64, starts: I64) -> dict[str, npt.NDArray[Any]]:
    """The columns of all groups; the rows of each group's bucket begin at `starts`."""
    sums = _Sums(row, starts)
    ends = np.append(starts[1:], len(row)) - 1
    count = np.add.reduceat(cells["count"][row], starts)
    columns: dict[str, npt.NDArray[Any]] = {}
    for name, reply in REPLIES.items():
        if reply.over_members is not None:
            over_all = reply.over_members(cells[name][row], starts, ends)
            columns[reply.name] = reply.of(over_all, count)
            continue
        own = reply.of(cells[name], cells["count"])
        samples, mean = sums.mean(own)
        columns[reply.name] = mean
        if reply.name == "mean":
            columns |= _spread(sums, own[row], samples, mean)
    columns["x"] = columns["step"] if x is None else sums.mean(x)[1]
    return columns


def _spread(sums: _Sums, own: F64, samples: I64, mean: F64) -> dict[str, npt.NDArray[Any]]:
    """How far the members' means, one for each row, lie from their mean."""
    std = np.sqrt(sums.add((own - sums.spread(mean)) ** 2) / (samples - 1))
    std[samples < 2] = np.nan
    return {"std": std, "stderr": std / np.sqrt(samples), "samples": samples}


class _Sums:
    """Sums over the rows of each group's bucket, which begin at `starts`. Non-finite values count as
    absent."""

    def __init__(self, row: I64, starts: I64) -> None:
        self._row = row
        self._starts = starts
        self._lengths = np.diff(starts, append=len(row))

    def add(self, values: F64) -> F64:
        total: F64 = np.add.reduceat(np.where(np.isfinite(values), values, 0.0), self._starts)
        return total

    def spread(self, values: F64) -> F64:
        """The values repeated, one for each row."""
        return np.repeat(values, self._lengths)

    def mean(self, column: F64) -> tuple[I64, F64]:
        """(number, mean) of the cells' finite values."""
        values = column[self._row]
        count = np.add.reduceat(np.isfinite(values), self._starts, dtype=np.int64)
        return count, self.add(values) / count


def _rows_of_groups(cells: Partials, members: Membership) -> tuple[I64, I64]:
    """Each row of `cells` once for each of its groups: (row, group and bucket), ordered by these."""
    curve = cells.cell >> CELL_BITS
    order = np.argsort(members.curve, kind="stable")
    known, groups = members.curve[order], members.group[order]
    bounds = np.searchsorted(known, np.arange(int(curve[-1]) + 2)) if len(curve) else known
    times = np.diff(bounds)[curve]
    row, at = np.arange(len(curve)), bounds[curve]
    if not (times == 1).all():
        row = np.repeat(row, times)
        at = np.repeat(at, times) + np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
    group_cell = (groups[at] << CELL_BITS) | (cells.cell[row] & ((1 << CELL_BITS) - 1))
    by = np.argsort(group_cell, kind="stable")
    return row[by], group_cell[by]
