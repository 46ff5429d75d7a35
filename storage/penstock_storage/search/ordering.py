"""Sorts runs and finds where a page starts.

Numbers come before texts, texts before booleans, then unordered values (lists, NaN); runs without the
path are last in either direction. Ties: newest first. Whole numbers are compared exactly up to
1.8e308, the largest float; larger ones are ties. A cursor holds the sort values of a page's last run,
so that the next page continues after it even if runs have come or gone.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock_storage.search.cells import BOOL, MISSING, NULL, NUMBER, TEXT, Cells, Mask, nearest
from penstock_storage.search.paths import Path, bad_request, parse_path

__all__ = ["Cursor", "Order", "Sorted", "Term", "parse_order", "sorted_rows"]

_UNORDERED, _LACKING = 3, 4
_MAX_SECONDS = 1e12

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
SortValue = float | str


class Term(NamedTuple):
    path: Path
    descending: bool


Order = tuple[Term, ...]
"""Ends with newest first, which is also the order if it is empty."""

_NEWEST_FIRST = Term(Path("", "created_at"), True)


def parse_order(texts: Sequence[str]) -> Order:
    """`-created_at`, `config.lr` … Raises `Rejected` (400)."""
    found = tuple(
        Term(parse_path(text.lstrip("+-"), "order"), text.startswith("-"))
        for text in map(str.strip, texts)
        if text.strip("+-")
    )
    return () if found == (_NEWEST_FIRST,) else found


@dataclass(frozen=True, slots=True)
class Cursor:
    """The sort values of a page's last run: each term's class and value, then the tie-breakers,
    creation time in seconds and number."""

    order: Order
    terms: tuple[tuple[int, SortValue], ...]
    created_at: float
    number: int

    def encode(self) -> str:
        terms = [[kind, value] for kind, value in self.terms]
        content = [_order_text(self.order), terms, self.created_at, self.number]
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, order: Order) -> Cursor:
        """Raises `Rejected` (400) if it is not a cursor or belongs to another order."""
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            order_text, terms, created_at, number = json.loads(data)
            found = cls(
                order,
                tuple((_within(kind, _LACKING), _sort_value(value)) for kind, value in terms),
                float(_within(created_at, _MAX_SECONDS)),
                int(_within(number, 2**32)),
            )
        except (ValueError, TypeError, binascii.Error, RecursionError, OverflowError):
            raise bad_request("after: this is not the `next` of a page") from None
        if order_text != _order_text(order) or len(found.terms) != len(order):
            raise bad_request("after: this is the `next` of a page with another order")
        return found


def _within(found: Any, most: float) -> Any:
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= most:
        raise ValueError
    return found


def _sort_value(found: Any) -> SortValue:
    if isinstance(found, str) or (type(found) is int and nearest(found) != found):
        return found
    return float(found)


def _order_text(order: Order) -> str:
    return ",".join(f"{'-' * term.descending}{term.path}" for term in order)


@dataclass(frozen=True, slots=True)
class _Keys:
    """One term for some rows: smaller pairs of class and value come first."""

    kind: npt.NDArray[np.int8]
    value: F64
    texts: list[str]
    descending: bool
    rest: F64 | None = None
    """The remainder of whole numbers beyond `value`, if there is any."""

    def take(self, places: Any) -> _Keys:
        rest = None if self.rest is None else self.rest[places]
        return _Keys(self.kind[places], self.value[places], self.texts, self.descending, rest)

    def sorted(self, places: Any) -> Any:
        """A stable sort of the positions by this term."""
        if self.rest is not None:
            places = places[np.argsort(self.rest[places], kind="stable")]
        places = places[np.argsort(self.value[places], kind="stable")]
        if len(self.kind) and self.kind.min() != self.kind.max():
            places = places[np.argsort(self.kind[places], kind="stable")]
        return places

    def of(self, place: int) -> tuple[int, SortValue]:
        """The pair of one row, for a cursor."""
        kind, value = int(self.kind[place]), float(self.value[place])
        if self._is_text(kind):
            return kind, self.texts[round(abs(value))]
        if self.rest is not None and self.rest[place] and np.isfinite(value):
            return kind, int(value) + int(self.rest[place])
        return kind, value

    def compared_with(self, kind: int, value: SortValue) -> tuple[Mask, Mask]:
        """The rows after this pair, and those equal to it."""
        if isinstance(value, str):
            rank: float = bisect.bisect_left(self.texts, value)
            if rank == len(self.texts) or self.texts[int(rank)] != value:
                rank -= 0.5
            value = -rank if self.descending else rank
        near = nearest(value)
        same, later = self.kind == kind, self.value > near
        equal = self.value == near
        if self.rest is not None:
            rest = _rest(value, near)
            later |= equal & (self.rest > rest)
            equal &= self.rest == rest
        return (self.kind > kind) | (same & later), same & equal

    def _is_text(self, kind: int) -> bool:
        return kind == 1 and bool(self.texts)


def _keys(cells: Cells, rows: I64, *, descending: bool) -> _Keys:
    kinds, numbers = cells.kind[rows], cells.number[rows]
    kind = np.full(len(rows), _UNORDERED, np.int8)
    value = np.zeros(len(rows))
    kind[(kinds == MISSING) | (kinds == NULL)] = _LACKING
    plain = ((kinds == NUMBER) & ~np.isnan(numbers)) | (kinds == BOOL)
    value[plain] = numbers[plain]
    kind[plain] = np.where(kinds[plain] == NUMBER, 0, 2)
    is_text = kinds == TEXT
    texts: list[str] = []
    if is_text.any():
        texts, ranks = cells.entries.ranks()
        kind[is_text], value[is_text] = 1, ranks[numbers[is_text].astype(np.int64)]
    if descending:
        ordered = kind < _UNORDERED
        kind[ordered] = 2 - kind[ordered]
        value = -value
    return _Keys(kind, value, texts, descending, _rests(cells, rows, descending=descending))


def _rests(cells: Cells, rows: I64, *, descending: bool) -> F64 | None:
    if not cells.exact:
        return None
    found = np.zeros(len(cells.kind))
    for row, value in cells.exact.items():
        found[row] = _rest(value, float(cells.number[row]))
    return -found[rows] if descending else found[rows]


def _rest(value: float, near: float) -> float:
    """The difference between a number and its nearest float."""
    return nearest(value - int(near)) if np.isfinite(near) and value != near else 0.0


@dataclass(frozen=True, slots=True)
class Sorted:
    """Sorted rows with their sort values."""

    order: Order
    rows: I64
    keys: tuple[_Keys, ...]
    created_at: F64
    number: I64

    def place_after(self, cursor: Cursor) -> int:
        """The first position after the cursor."""
        behind = np.zeros(len(self.rows), np.bool_)
        equal = np.ones(len(self.rows), np.bool_)
        for keys, (kind, value) in zip(self.keys, cursor.terms, strict=True):
            later, same = keys.compared_with(kind, value)
            behind |= equal & later
            equal &= same
        behind |= equal & (self.created_at < cursor.created_at)
        equal &= self.created_at == cursor.created_at
        behind |= equal & (self.number < cursor.number)
        return int(np.argmax(behind)) if behind.any() else len(self.rows)

    def cursor(self, place: int) -> Cursor:
        """The cursor of a page that ends at this position."""
        return Cursor(
            self.order,
            tuple(keys.of(place) for keys in self.keys),
            float(self.created_at[place]),
            int(self.number[place]),
        )


def sorted_rows(
    newest_first: I64, order: Order, cells_of: Callable[[Path], Cells], numbers: I64
) -> Sorted:
    """Sort rows that are given newest first. `numbers` has all runs' numbers by row."""
    keys = [_keys(cells_of(term.path), newest_first, descending=term.descending) for term in order]
    places = np.arange(len(newest_first))
    for each in reversed(keys):
        places = each.sorted(places)
    rows = newest_first[places]
    created = cells_of(Path("", "created_at")).number[rows]
    return Sorted(order, rows, tuple(each.take(places) for each in keys), created, numbers[rows])
