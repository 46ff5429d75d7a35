"""The values of one path over all runs of a project, as arrays for vectorized comparison.

A cell has a kind and a number: a NUMBER itself, a BOOL as 0 or 1, a TEXT or LIST as the index of its
entry. Each distinct text is stored and tested once; only its first `MAX_TEXT_CHARS` characters count.
Whole numbers that a 64-bit float cannot represent are also stored exactly. Memory depends on the cells
that are set: runs without a path cost nothing if all their neighbours lack it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "BOOL",
    "LIST",
    "MAX_TEXT_CHARS",
    "MISSING",
    "NULL",
    "NUMBER",
    "OBJECT",
    "TEXT",
    "Cells",
    "Entries",
    "Entry",
    "Mask",
    "PathColumn",
    "Scalar",
    "Typed",
    "nearest",
    "typed",
]  # fmt: skip

Scalar = str | float | bool | None
Typed = tuple[type, Scalar]
"""A value and the type it compares as (float, str, bool or NoneType), so that 1 differs from true."""
Entry = str | tuple[Typed, ...]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Kinds = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]

MISSING, NUMBER, BOOL, TEXT, LIST, NULL, OBJECT = range(7)
MAX_TEXT_CHARS = 1_024

_MAX_LIST_ENTRIES = 100
_TESTS_AT_ONCE = 2_000
_SHIFT = 10
_BLOCK = 1 << _SHIFT
_INEXACT = 2.0**53
_SCALARS = (str, int, float, bool, type(None))


def nearest(value: float) -> float:
    """The 64-bit float nearest to a number; infinity if it is beyond the range."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def typed(value: Scalar) -> Typed:
    """A value with the type it compares as: integers are numbers, booleans are not."""
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return (float if is_number else type(value)), value


class Entries:
    """The distinct texts and lists of a column; a cell refers to its entry."""

    def __init__(self, items: list[Entry] | None = None) -> None:
        self.items: list[Entry] = [] if items is None else items
        self._ranked: tuple[list[str], Numbers] = ([], np.zeros(0))

    def ranks(self) -> tuple[list[str], Numbers]:
        """The sorted texts, and each entry's position among them."""
        if len(self._ranked[1]) != len(self.items):
            texts = sorted({entry for entry in self.items if isinstance(entry, str)})
            places = {text: place for place, text in enumerate(texts)}
            ranks = [places.get(entry, -1) for entry in self.items]  # type: ignore[arg-type]
            self._ranked = texts, np.array(ranks, np.float64)
        return self._ranked


@dataclass(frozen=True, slots=True)
class Cells:
    """One path, run by run."""

    kind: Kinds
    number: Numbers
    entries: Entries
    exact: Mapping[int, int] = field(default_factory=dict)
    """By row, the whole numbers that `number` only approximates."""

    @classmethod
    def none(cls, count: int) -> Cells:
        return cls(np.zeros(count, np.uint8), np.zeros(count), Entries())

    def over(self, below: Cells) -> Cells:
        """These cells, with those of `below` where these are missing."""
        shows = (self.kind == MISSING) & (below.kind != MISSING)
        if not shows.any():
            return self
        if not (below.entries.items and below.is_coded().any()):
            entries, moved = self.entries, below.number
        elif not (self.entries.items and self.is_coded().any()):
            entries, moved = below.entries, below.number
        else:
            entries = Entries([*self.entries.items, *below.entries.items])
            moved = below.number + len(self.entries.items) * below.is_coded()
        shown = {row: value for row, value in below.exact.items() if shows[row]}
        return Cells(
            np.where(shows, below.kind, self.kind),
            np.where(shows, moved, self.number),
            entries,
            {**self.exact, **shown},
        )

    def is_coded(self) -> Mask:
        found: Mask = (self.kind == TEXT) | (self.kind == LIST)
        return found

    def where_entry(self, test: Callable[[Entry], bool], pause: Callable[[], None]) -> Mask:
        """The cells whose text or list passes. `pause` is called periodically and may raise."""
        coded = self.is_coded()
        if not coded.any():
            return coded
        items = self.entries.items
        passing = np.zeros(len(items), np.bool_)
        for start in range(0, len(items), _TESTS_AT_ONCE):
            pause()
            some = items[start : start + _TESTS_AT_ONCE]
            passing[start : start + len(some)] = [test(entry) for entry in some]
        found = np.zeros(len(self.kind), np.bool_)
        found[coded] = passing[self.number[coded].astype(np.int64)]
        return found


class PathColumn:
    """The mutable values of one path."""

    def __init__(self) -> None:
        self._blocks: dict[int, tuple[Kinds, Numbers]] = {}
        self._entries = Entries()
        self._codes: dict[Entry, int] = {}
        self._exact: dict[int, int] = {}

    @property
    def blocks(self) -> int:
        """The number of memory blocks used."""
        return len(self._blocks)

    def put(self, rows: Rows, values: Sequence[object] | Numbers) -> None:
        """Set these rows to JSON values or to an array of numbers."""
        kinds, numbers = self._encoded(values)
        self._store(rows, kinds, numbers)
        self._keep_exact(rows, values, (kinds == NUMBER) & (np.abs(numbers) >= _INEXACT))
        if len(self._codes) > 2 * _BLOCK * len(self._blocks):
            self._forget_unused()

    def clear(self, rows: Rows) -> None:
        """Clear these rows."""
        self._store(rows, np.full(len(rows), MISSING, np.uint8), np.zeros(len(rows)))

    def cells(self, count: int) -> Cells:
        """The first `count` rows."""
        exact = {row: value for row, value in self._exact.items() if row < count}
        found = Cells(np.zeros(count, np.uint8), np.zeros(count), self._entries, exact)
        for block, (kinds, numbers) in self._blocks.items():
            place = slice(block << _SHIFT, min((block + 1) << _SHIFT, count))
            size = place.stop - place.start
            found.kind[place], found.number[place] = kinds[:size], numbers[:size]
        return found

    def _keep_exact(self, rows: Rows, values: Sequence[Any] | Numbers, large: Mask) -> None:
        for place in np.flatnonzero(large).tolist():
            value = values[place]
            if isinstance(value, int) and value != nearest(value):
                self._exact[int(rows[place])] = value

    def _store(self, rows: Rows, kinds: Kinds, numbers: Numbers) -> None:
        if self._exact:
            for row in rows.tolist():
                self._exact.pop(row, None)
        blocks = rows >> _SHIFT
        for block in np.unique(blocks).tolist():
            if block not in self._blocks:
                self._blocks[block] = (np.zeros(_BLOCK, np.uint8), np.zeros(_BLOCK))
            chosen = blocks == block
            inside = rows[chosen] & (_BLOCK - 1)
            self._blocks[block][0][inside] = kinds[chosen]
            self._blocks[block][1][inside] = numbers[chosen]

    def _encoded(self, values: Sequence[Any] | Numbers) -> tuple[Kinds, Numbers]:
        if isinstance(values, np.ndarray):
            return np.full(len(values), NUMBER, np.uint8), values
        # Runs of a sweep are similar: values of one type are not handled one by one.
        types = set(map(type, values))
        if types <= {int, float}:
            return np.full(len(values), NUMBER, np.uint8), _numbers(values)
        if types == {bool}:
            return np.full(len(values), BOOL, np.uint8), np.array(values, np.float64)
        if types == {str}:
            return np.full(len(values), TEXT, np.uint8), self._coded(values)
        if types == {dict}:
            return np.full(len(values), OBJECT, np.uint8), np.zeros(len(values))
        cells = [self._cell(value) for value in values]
        return np.array([c[0] for c in cells], np.uint8), np.array([c[1] for c in cells])

    def _coded(self, entries: Iterable[Any]) -> Numbers:
        # Lists of 1, 1.0 and True are equal in Python and thus one entry; they compare equally.
        codes, known = self._codes, len(self._codes)
        found = [codes.setdefault(entry[:MAX_TEXT_CHARS], len(codes)) for entry in entries]
        self._entries.items.extend(islice(codes, known, None))
        return np.array(found, np.float64)

    def _cell(self, value: Any) -> tuple[int, float]:
        match value:
            case bool():
                return BOOL, float(value)
            case int() | float():
                return NUMBER, float(_numbers([value])[0])
            case str():
                return TEXT, float(self._coded([value])[0])
            case None:
                return NULL, 0.0
            case list() if len(value) <= _MAX_LIST_ENTRIES and all(
                isinstance(each, _SCALARS) for each in value
            ):
                return LIST, float(self._coded([tuple(map(typed, value))])[0])
            case _:
                return OBJECT, 0.0

    def _forget_unused(self) -> None:
        """Drop texts that no run uses any more."""
        coded = [
            (numbers, (kinds == TEXT) | (kinds == LIST)) for kinds, numbers in self._blocks.values()
        ]
        used = np.unique(np.concatenate([numbers[mask] for numbers, mask in coded]))
        moved = np.zeros(len(self._codes))
        moved[used.astype(np.int64)] = np.arange(len(used))
        for numbers, mask in coded:
            numbers[mask] = moved[numbers[mask].astype(np.int64)]
        # New objects: cells already returned keep the old ones.
        kept = [self._entries.items[code] for code in used.astype(np.int64).tolist()]
        self._entries = Entries(kept)
        self._codes = {entry: code for code, entry in enumerate(kept)}


def _numbers(values: Sequence[float]) -> Numbers:
    try:
        return np.array(values, np.float64)
    except OverflowError:  # whole numbers beyond a float's precision
        return np.array([nearest(value) for value in values], np.float64)
