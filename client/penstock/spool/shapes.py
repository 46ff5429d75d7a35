"""The key tuples that one writer logs together, and the last values of each."""

from __future__ import annotations

from typing import Any

import msgpack

from penstock.spool.record import PAYLOAD_HEAD, PayloadKind
from penstock.spool.summaries import Rules, Summaries

__all__ = ["UNDECLARED", "Shape", "Shapes"]

UNDECLARED = -1
_MAX_SHAPES = 4_096


class Shape:
    """A tuple of keys logged together, and their last values."""

    __slots__ = ("keys", "last", "nests", "number", "payload", "segment", "time_ns")

    last: list[Any]

    def __init__(self, number: int, keys: list[str]) -> None:
        self.number = number
        self.keys = keys
        self.payload = PAYLOAD_HEAD.pack(PayloadKind.SHAPE, number, 0, 0) + msgpack.packb(keys)
        self.segment = UNDECLARED
        self.last = []
        self.time_ns = 0
        self.nests: bool | None = None
        """Whether its first row had lists or dicts, so that its rows must be inspected. None: no row."""


class _SummedShape(Shape):
    """A shape with metrics whose summary needs more than the last value: setting `last` records the
    values, so that rows of other shapes cost nothing."""

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
    """All shapes, and the summary of what was logged under them."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, ...], Shape] = {}
        self._count = 0
        self._older: dict[str, Any] = {}
        self._summaries = Summaries(Rules())

    def add(self, keys: list[str]) -> Shape:
        """Add a shape; the others are forgotten if there are too many."""
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
        """Apply a wire record's rule for a metric's summary. Forgets the shapes known so far."""
        self._summaries.rules.learn([record])
        self._forget()

    def note(self, values: dict[str, Any]) -> None:
        """Record values that were logged without a shape."""
        self._older.update(values)

    def undeclare(self) -> None:
        """Record that no segment contains them any more."""
        for shape in self.known.values():
            shape.segment = UNDECLARED

    def summary(self) -> dict[str, Any]:
        """The last value of each key, or the requested aggregates instead."""
        merged = self._last_values()
        if rules := self._summaries.rules:
            merged = {key: value for key, value in merged.items() if not rules.hides(key)}
        for key in self._summaries.figures:
            if self._summaries.asks_for(key):
                merged[key], _ = self._summaries.shown(key)
        return merged

    def _last_values(self) -> dict[str, Any]:
        merged = dict(self._older)
        for shape in sorted(self.known.values(), key=lambda shape: shape.time_ns):
            merged.update(zip(shape.keys, shape.last, strict=False))
        return merged

    def _forget(self) -> None:
        self._older = self._last_values()
        self.known.clear()
