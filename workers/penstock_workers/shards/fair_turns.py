"""Whose turn it is, of those that want one now. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

__all__ = ["FairTurns"]

KeyT = TypeVar("KeyT", bound=Hashable)


class FairTurns(Generic[KeyT]):
    """The one that has waited longest. One that does not want a turn any more loses its place."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._places: dict[KeyT, int] = {}

    def next(self, waiting: Iterable[KeyT]) -> KeyT:
        """The next of these, of which there must be one."""
        known = self._places
        self._places = {key: known[key] if key in known else next(self._numbers) for key in waiting}
        chosen = min(self._places, key=self._places.__getitem__)
        self._places[chosen] = next(self._numbers)
        return chosen
