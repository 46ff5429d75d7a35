"""The tuples of keys that one writer logs together, and the values last seen under them."""

from __future__ import annotations

from typing import Any

import msgpack

from penstock.record import PAYLOAD_HEAD, Kind
from penstock.summaries import Rules, Summaries

__all__ = ["UNDECLARED", "Shape", "Shapes"]

UNDECLARED = -1
_MAX_SHAPES = 4_096


class Shape:
    """A tuple of keys that were logged together, and the values last seen under them."""

    __slots__ = ("keys", "last", "nests", "number", "payload", "segment", "time_ns")

    last: list[Any]

    def __init__(self, number: int, keys: list[str]) -> None:
        self.number = number
        self.keys = keys
        self.payload = PAYLOAD_HEAD.pack(Kind.SHAPE, number, 0, 0) + msgpack.packb(keys)
        self.segment = UNDECLARED
        self.last = []
        self.time_ns = 0
        self.nests: bool | None = None
        """Whether its first row had lists or dicts: those of its rows are looked into. None: no row."""


class _SummedShape(Shape):
    """One with metrics of which the summary has more than the last value: setting `last` notes the
    values, so that rows of all other shapes pay nothing."""

    __slots__ = ("_places", "_summaries", "_values")

    def __init__(self, number: int, keys: list[str], summaries: Summaries) -> None:
        self._summaries = summaries
        self._places = [place for place, key in enumerate(keys) if summaries.asks_for(key)]
        super().__init__(number, keys)

    @property
    def last(self) -> list[Any]:
        return self._values

    @last.setter
    def last(self, values: list[Any]) -> None:
        self._values = values
        if values:
            for place in self._places:
                value = values[place]
                if isinstance(value, (float, int)) and type(value) is not bool:
                    self._summaries.add_one(self.keys[place], float(value))


class Shapes:
    """All of them, and what a summary shows of what was logged under them."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, ...], Shape] = {}
        self._count = 0
        self._older: dict[str, Any] = {}
        self._summaries = Summaries(Rules())

    def add(self, keys: list[str]) -> Shape:
        """A new one; the others are forgotten if there are too many."""
        if len(self.known) >= _MAX_SHAPES:
            self._forget()
        self._count += 1
        if any(map(self._summaries.asks_for, keys)):
            shape: Shape = _SummedShape(self._count, keys, self._summaries)
        else:
            shape = Shape(self._count, keys)
        self.known[tuple(keys)] = shape
        return shape

    def learn(self, record: dict[str, Any]) -> None:
        """Take in what a record of the wire format says of a metric's summary. Shapes known so far
        are forgotten."""
        self._summaries.rules.learn([record])
        self._forget()

    def note(self, values: dict[str, Any]) -> None:
        """Values that were logged, but under no shape."""
        self._older.update(values)

    def undeclare(self) -> None:
        """No segment has them any more."""
        for shape in self.known.values():
            shape.segment = UNDECLARED

    def summary(self) -> dict[str, Any]:
        """The value last logged under each key, or the figures that were asked for instead."""
        merged = self._last_values()
        for key in self._summaries.figures:
            if self._summaries.asks_for(key):
                shown, _ = self._summaries.shown(key)
                if shown is None:
                    merged.pop(key, None)
                else:
                    merged[key] = shown
        return merged

    def _last_values(self) -> dict[str, Any]:
        merged = dict(self._older)
        for shape in sorted(self.known.values(), key=lambda shape: shape.time_ns):
            merged.update(zip(shape.keys, shape.last, strict=False))
        return merged

    def _forget(self) -> None:
        self._older = self._last_values()
        self.known.clear()
