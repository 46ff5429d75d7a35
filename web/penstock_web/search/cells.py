"""The values of one path over all runs of a project, as arrays that are compared at once.

A cell has a kind and a number: a NUMBER itself, a BOOL as 0 or 1, a TEXT or LIST as the place of
its entry. Every different text is there once, so what a test says about it is found out once. Of a
long text only the first `LONGEST_TEXT` characters count. Memory follows the cells that are set:
runs without a path cost nothing where all their neighbours lack it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "BOOL", "LIST", "LONGEST_TEXT", "MISSING", "NULL", "NUMBER", "OBJECT", "TEXT", "Cells",
    "Column", "Entry", "Mask", "Scalar",
]  # fmt: skip

Scalar = str | float | bool | None
Entry = str | tuple[Scalar, ...]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Kinds = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]

MISSING, NUMBER, BOOL, TEXT, LIST, NULL, OBJECT = range(7)
LONGEST_TEXT = 1_024

_LONGEST_LIST = 100
_SHIFT = 10
_BLOCK = 1 << _SHIFT
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Cells:
    """One path, run by run."""

    kind: Kinds
    number: Numbers
    entries: Sequence[Entry]

    @classmethod
    def none(cls, count: int) -> Cells:
        return cls(np.zeros(count, np.uint8), np.zeros(count), [])

    def over(self, below: Cells) -> Cells:
        """These, and those of `below` where these are missing."""
        shows = (self.kind == MISSING) & (below.kind != MISSING)
        if not shows.any():
            return self
        moved = below.number + len(self.entries) * below.is_coded()
        return Cells(
            np.where(shows, below.kind, self.kind),
            np.where(shows, moved, self.number),
            [*self.entries, *below.entries] if below.entries else self.entries,
        )

    def is_coded(self) -> Mask:
        found: Mask = (self.kind == TEXT) | (self.kind == LIST)
        return found

    def where_entry(self, test: Callable[[Entry], bool]) -> Mask:
        """The cells whose text or list passes."""
        coded = self.is_coded()
        if not coded.any():
            return coded
        passing = np.fromiter(map(test, self.entries), np.bool_, len(self.entries))
        found = np.zeros(len(self.kind), np.bool_)
        found[coded] = passing[self.number[coded].astype(np.int64)]
        return found


class Column:
    """The values of one path, which change run by run."""

    def __init__(self) -> None:
        self._blocks: dict[int, tuple[Kinds, Numbers]] = {}
        self._entries: list[Entry] = []
        self._codes: dict[Entry, int] = {}

    @property
    def blocks(self) -> int:
        """How many blocks of memory this takes."""
        return len(self._blocks)

    def put(self, rows: Rows, values: Sequence[object]) -> None:
        """Set these rows to these values, as JSON gives them."""
        self._store(rows, *self._encoded(values))
        if len(self._entries) > 2 * _BLOCK * len(self._blocks):
            self._forget_unused()

    def clear(self, rows: Rows) -> None:
        """Nothing is known of these rows any more."""
        self._store(rows, np.full(len(rows), MISSING, np.uint8), np.zeros(len(rows)))

    def cells(self, count: int) -> Cells:
        """The first `count` rows."""
        found = Cells(np.zeros(count, np.uint8), np.zeros(count), self._entries)
        for block, (kinds, numbers) in self._blocks.items():
            place = slice(block << _SHIFT, min((block + 1) << _SHIFT, count))
            size = place.stop - place.start
            found.kind[place], found.number[place] = kinds[:size], numbers[:size]
        return found

    def _store(self, rows: Rows, kinds: Kinds, numbers: Numbers) -> None:
        blocks = rows >> _SHIFT
        for block in np.unique(blocks).tolist():
            if block not in self._blocks:
                self._blocks[block] = (np.zeros(_BLOCK, np.uint8), np.zeros(_BLOCK))
            chosen = blocks == block
            inside = rows[chosen] & (_BLOCK - 1)
            self._blocks[block][0][inside] = kinds[chosen]
            self._blocks[block][1][inside] = numbers[chosen]

    def _encoded(self, values: Sequence[Any]) -> tuple[Kinds, Numbers]:
        types = set(map(type, values))
        # Runs of a sweep are alike: what is all of one type is not looked at one by one.
        if types <= {int, float}:
            return np.full(len(values), NUMBER, np.uint8), _numbers(values)
        if types == {str}:
            codes = [self._code(text[:LONGEST_TEXT]) for text in values]
            return np.full(len(values), TEXT, np.uint8), np.array(codes, np.float64)
        cells = [self._cell(value) for value in values]
        return np.array([c[0] for c in cells], np.uint8), np.array([c[1] for c in cells])

    def _cell(self, value: Any) -> tuple[int, float]:
        match value:
            case bool():
                return BOOL, float(value)
            case int() | float():
                return NUMBER, float(_numbers([value])[0])
            case str():
                return TEXT, self._code(value[:LONGEST_TEXT])
            case None:
                return NULL, 0.0
            case list() if len(value) <= _LONGEST_LIST and all(
                isinstance(each, _SCALARS) for each in value
            ):
                return LIST, self._code(tuple(value))
            case _:
                return OBJECT, 0.0

    def _code(self, entry: Entry) -> int:
        # Lists of 1, 1.0 and True are equal to Python and thus one entry; they compare alike.
        code = self._codes.get(entry)
        if code is None:
            code = self._codes[entry] = len(self._entries)
            self._entries.append(entry)
        return code

    def _forget_unused(self) -> None:
        """Drop texts that no run has any more."""
        coded = [
            (numbers, (kinds == TEXT) | (kinds == LIST)) for kinds, numbers in self._blocks.values()
        ]
        used = np.unique(np.concatenate([numbers[mask] for numbers, mask in coded]))
        moved = np.zeros(len(self._entries))
        moved[used.astype(np.int64)] = np.arange(len(used))
        for numbers, mask in coded:
            numbers[mask] = moved[numbers[mask].astype(np.int64)]
        # New objects: cells that were given out keep the old ones.
        self._entries = [self._entries[code] for code in used.astype(np.int64).tolist()]
        self._codes = {entry: code for code, entry in enumerate(self._entries)}


def _numbers(values: Sequence[float]) -> Numbers:
    try:
        return np.array(values, np.float64)
    except OverflowError:  # whole numbers beyond what a float holds
        return np.array([_clamped(value) for value in values], np.float64)


def _clamped(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
