"""Evaluates filters with numpy over the cells of their paths.

Numbers compare with numbers, texts with texts, booleans with booleans; NaN with nothing. A list
matches if one of its values does (or, for $eq, the whole list). Slow filters are refused.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_storage.search.cells import (
    BOOL,
    MISSING,
    NULL,
    NUMBER,
    Cells,
    Entry,
    Mask,
    Scalar,
    nearest,
    typed,
)
from penstock_storage.search.filters import (
    AllOf,
    AnyOf,
    Compares,
    Exists,
    Filter,
    Inverse,
    IsList,
    Matches,
    OneOf,
)
from penstock_storage.search.paths import Path
from penstock_storage.search.patterns import Pattern

__all__ = ["Deadline", "passing"]

CellsOf = Callable[[Path], Cells]

_ORDERINGS: dict[str, Callable[[Any, Any], Any]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


class Deadline:
    """Raises `Rejected` (400) after its time limit."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def check(self) -> None:
        if self._clock() > self._end:
            raise Rejected(
                f"finding these runs took longer than {self._seconds:g} s",
                code=ErrorCode.FILTER_TOO_SLOW,
            )


def passing(filter_: Filter, cells_of: CellsOf, count: int, deadline: Deadline) -> Mask:
    """The rows out of `count` that match."""
    match filter_:
        case AllOf(parts):
            masks = (passing(part, cells_of, count, deadline) for part in parts)
            return reduce(np.logical_and, masks, np.ones(count, np.bool_))
        case AnyOf(parts):
            masks = (passing(part, cells_of, count, deadline) for part in parts)
            return reduce(np.logical_or, masks, np.zeros(count, np.bool_))
        case Inverse(part):
            return ~passing(part, cells_of, count, deadline)
        case _:
            deadline.check()
            return _holds(filter_, cells_of(filter_.path), deadline)


def _holds(
    condition: OneOf | IsList | Compares | Exists | Matches, cells: Cells, deadline: Deadline
) -> Mask:
    match condition:
        case Exists():
            return np.not_equal(cells.kind, MISSING)
        case OneOf(_, values):
            return _is_one_of(cells, values, deadline)
        case IsList(_, values):
            wanted = tuple(map(typed, values))
            return cells.where_entry(lambda entry: entry == wanted, deadline.check)
        case Compares(_, ordering, operand):
            return _compares(cells, _ORDERINGS[ordering], operand, deadline)
        case Matches(_, pattern):
            return cells.where_entry(lambda entry: _matches(entry, pattern), deadline.check)


def _is_one_of(cells: Cells, wanted: tuple[Scalar, ...], deadline: Deadline) -> Mask:
    numbers = [each for each in wanted if isinstance(each, float)]
    exact = {each for each in wanted if typed(each)[0] is float} - set(numbers)
    booleans = [float(each) for each in wanted if isinstance(each, bool)]
    texts = {each for each in wanted if isinstance(each, str)}
    pairs = set(map(typed, wanted))
    found = np.zeros(len(cells.kind), np.bool_)
    if numbers:
        found |= (cells.kind == NUMBER) & np.isin(cells.number, numbers)
    for row, value in cells.exact.items():
        found[row] = value in exact
    if booleans:
        found |= (cells.kind == BOOL) & np.isin(cells.number, booleans)
    if None in wanted:
        found |= (cells.kind == NULL) | (cells.kind == MISSING)

    def test(entry: Entry) -> bool:
        if isinstance(entry, str):
            return entry in texts
        return not pairs.isdisjoint(entry)

    return found | cells.where_entry(test, deadline.check)


def _compares(
    cells: Cells, ordering: Callable[[Any, Any], Any], operand: Scalar, deadline: Deadline
) -> Mask:
    kind, _ = typed(operand)
    found = np.zeros(len(cells.kind), np.bool_)
    if kind is not str:
        found |= (cells.kind == (NUMBER if kind is float else BOOL)) & _ordered(
            cells, ordering, operand
        )

    def test(entry: Entry) -> bool:
        if isinstance(entry, str):
            return kind is str and bool(ordering(entry, operand))
        return any(own is kind and ordering(value, operand) for own, value in entry)

    return found | cells.where_entry(test, deadline.check)


def _ordered(cells: Cells, ordering: Callable[[Any, Any], Any], operand: Any) -> Mask:
    """Compare numbers with a number exactly, even whole ones that are not floats."""
    near = nearest(operand)
    found: Mask = ordering(cells.number, near)
    if near != operand:
        found[cells.number == near] = ordering(near, operand)
    for row, value in cells.exact.items():
        found[row] = ordering(value, operand)
    return found


def _matches(entry: Entry, pattern: Pattern) -> bool:
    if isinstance(entry, str):
        return pattern.found_in(entry)
    return any(isinstance(value, str) and pattern.found_in(value) for _, value in entry)
