"""The aggregates of a bucket, declared once: how each is stored, computed from points, merged and shown.

From here follow the columns of `tiers`, the statements that build and fold its rows, those of charts, the
folds in numpy that equal these, and the columns of replies. A new aggregate is an entry of `AGGREGATES`, and
a migration that adds and fills its column. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "AGGREGATES",
    "CHART_AGGREGATES",
    "REPLIES",
    "BucketAggregate",
    "BucketPoints",
    "Reply",
    "named",
    "reply_columns",
    "sql_of_points",
    "sql_of_rows",
    "stored",
]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Values: TypeAlias = "npt.NDArray[Any]"


@dataclass(frozen=True, slots=True)
class BucketPoints:
    """Points by bucket and step: those of a bucket lie from `starts` to `ends`, inclusive.

    `low`, `high` and `finite` are the values with +inf, -inf and 0 for non-finite ones; `count` and `size`
    the numbers of finite and of all points of a bucket.
    """

    step: I64
    v: F64
    low: F64
    high: F64
    finite: F64
    starts: I64
    ends: I64
    count: I64
    size: I64

    @classmethod
    def of(cls, step: I64, v: F64, starts: I64, ends: I64) -> BucketPoints:
        size = np.diff(starts, append=len(v))
        is_finite = np.isfinite(v)
        if is_finite.all():
            return cls(step, v, v, v, v, starts, ends, size, size)
        low, high = np.where(is_finite, v, np.inf), np.where(is_finite, v, -np.inf)
        count = np.add.reduceat(is_finite, starts, dtype=np.int64)
        return cls(step, v, low, high, np.where(is_finite, v, 0.0), starts, ends, count, size)


Fold: TypeAlias = Callable[[BucketPoints], Values]
Merge: TypeAlias = Callable[[Values, I64, I64], Values]
"""One value for each stretch of rows, from its first to its last index, inclusive."""


def _least(values: Values, starts: I64, ends: I64) -> Values:
    return np.minimum.reduceat(values, starts)


def _greatest(values: Values, starts: I64, ends: I64) -> Values:
    return np.maximum.reduceat(values, starts)


def _sum(values: Values, starts: I64, ends: I64) -> Values:
    return np.add.reduceat(values, starts)


def _first(values: Values, starts: I64, ends: I64) -> Values:
    return values[starts]


def _last(values: Values, starts: I64, ends: I64) -> Values:
    return values[ends]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An aggregate as a column of a chart's reply."""

    name: str
    about: str = ""
    of: Callable[[Values, I64], Values] = lambda values, count: values
    """The column, from the aggregate and the number of finite points; NaN: no value."""
    over_members: Merge | None = None
    """How those of a group's members are combined, as values of a bucket are; None: their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAggregate:
    """One aggregate. In its SQL {step}, {v} and {finite} are a point's columns, {row} a table of rows that
    aggregate parts of the bucket, and {place} what the last of several points or rows is the greatest of."""

    name: str
    column: str
    """Its type and codec in `tiers`."""
    of_points: str
    of_rows: str
    fold: Fold
    """The same as `of_points`."""
    merge: Merge
    """The same as `of_rows`, of rows in the order of their last steps."""
    neutral: float | None = None
    """Merged in place of the value of a bucket without finite points; None: its value is merged."""
    reply: Reply | None = None
    """None: it is only stored, and no chart reads it."""

    @property
    def is_count(self) -> bool:
        """Stored in 32 bits; computed in 64."""
        return self.column.startswith("UInt32")

    @property
    def dtype(self) -> type[np.float64] | type[np.int64]:
        """Of its values in numpy."""
        return np.float64 if self.column.startswith("Float64") else np.int64


def _where_any(values: Values, count: I64) -> Values:
    return np.where(count > 0, values, np.nan)


def _where_finite(values: Values, count: I64) -> Values:
    return np.where(np.isfinite(values), values, np.nan)


def _mean(values: Values, count: I64) -> Values:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return values / count


_STEP = "Int64 CODEC(DoubleDelta, LZ4)"
_VALUE = "Float64 CODEC(LZ4)"
_COUNT = "UInt32 CODEC(LZ4)"

AGGREGATES: dict[str, BucketAggregate] = {
    each.name: each
    for each in (
        BucketAggregate(
            name="first_step",
            column=_STEP,
            of_points="min({step})",
            of_rows="min({row}.first_step)",
            fold=lambda points: points.step[points.starts],
            merge=_least,
            reply=Reply(name="first_step", over_members=_least),
        ),
        BucketAggregate(
            name="last_step",
            column=_STEP,
            of_points="max({step})",
            of_rows="max({row}.last_step)",
            fold=lambda points: points.step[points.ends],
            merge=_last,
            reply=Reply(
                name="step",
                about="The last step in the bucket that has a point.",
                over_members=_greatest,
            ),
        ),
        BucketAggregate(
            name="min",
            column=_VALUE,
            of_points="minIf({v}, {finite})",
            of_rows="minIf({row}.min, {row}.count > 0)",
            fold=lambda points: np.minimum.reduceat(points.low, points.starts),
            merge=_least,
            neutral=np.inf,
            reply=Reply(
                name="min",
                about="Over all finite points in the bucket.",
                of=_where_any,
                over_members=_least,
            ),
        ),
        BucketAggregate(
            name="max",
            column=_VALUE,
            of_points="maxIf({v}, {finite})",
            of_rows="maxIf({row}.max, {row}.count > 0)",
            fold=lambda points: np.maximum.reduceat(points.high, points.starts),
            merge=_greatest,
            neutral=-np.inf,
            reply=Reply(name="max", of=_where_any, over_members=_greatest),
        ),
        BucketAggregate(
            name="sum",
            column=_VALUE,
            of_points="sumIf({v}, {finite})",
            of_rows="sum({row}.sum)",
            fold=lambda points: np.add.reduceat(points.finite, points.starts),
            merge=_sum,
            reply=Reply(
                name="mean",
                about="For aggregated curves, the mean of the members' means.",
                of=_mean,
            ),
        ),
        BucketAggregate(
            name="count",
            column=_COUNT,
            of_points="countIf({finite})",
            of_rows="sum({row}.count)",
            fold=lambda points: points.count,
            merge=_sum,
            reply=Reply(name="count", about="Number of finite points.", over_members=_sum),
        ),
        BucketAggregate(
            name="first",
            column=_VALUE,
            of_points="argMin({v}, {step})",
            of_rows="argMin({row}.first, {row}.first_step)",
            fold=lambda points: points.v[points.starts],
            merge=_first,
        ),
        BucketAggregate(
            name="last",
            column=_VALUE,
            of_points="argMax({v}, {place})",
            of_rows="argMax({row}.last, {place})",
            fold=lambda points: points.v[points.ends],
            merge=_last,
            reply=Reply(
                name="last",
                about="For aggregated curves, the mean of the members' last values.",
                of=_where_finite,
            ),
        ),
        BucketAggregate(
            name="non_finite",
            column=_COUNT,
            of_points="countIf(NOT {finite})",
            of_rows="sum({row}.non_finite)",
            fold=lambda points: points.size - points.count,
            merge=_sum,
            reply=Reply(
                name="non_finite", about="Number of NaN and infinite points.", over_members=_sum
            ),
        ),
    )
}
"""By name, in the order of the columns of `tiers`."""

REPLIES: dict[str, Reply] = {
    name: each.reply for name, each in AGGREGATES.items() if each.reply is not None
}
"""Those that charts show, by the aggregate's name."""

CHART_AGGREGATES = {name: AGGREGATES[name] for name in REPLIES}


def reply_columns(values: Mapping[str, Values]) -> dict[str, Values]:
    """The columns of a reply from the aggregates of each bucket."""
    return {reply.name: reply.of(values[name], values["count"]) for name, reply in REPLIES.items()}


def sql_of_points(
    aggregates: Iterable[BucketAggregate], *, step: str, v: str, finite: str, place: str
) -> dict[str, str]:
    """SQL over a bucket's points, by the aggregate's name."""
    names = {"step": step, "v": v, "finite": finite, "place": place}
    return {each.name: each.of_points.format(**names) for each in aggregates}


def sql_of_rows(aggregates: Iterable[BucketAggregate], *, row: str, place: str) -> dict[str, str]:
    """SQL over rows that aggregate parts of a bucket, by the aggregate's name."""
    return {each.name: each.of_rows.format(row=row, place=place) for each in aggregates}


def named(sql: Mapping[str, str]) -> str:
    """SQL: these as columns with their names."""
    return ", ".join(f"{each} AS {name}" for name, each in sql.items())


def stored(sql: Mapping[str, str]) -> dict[str, str]:
    """The same in the types of the columns of `tiers`."""
    return {
        name: f"toUInt32({each})" if AGGREGATES[name].is_count else each
        for name, each in sql.items()
    }
