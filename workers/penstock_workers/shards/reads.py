"""What is read from the queue at once, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock_workers.shards.fair_turns import FairTurns

__all__ = ["NO_LIMIT", "Read", "next_of"]

NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Read:
    """What to read: at most `limit` entries of these shards, or only those of one writer, or one
    entry that failed before."""

    shards: Sequence[int]
    limit: int = NO_LIMIT
    writer: str = ""
    entry_id: str = ""
    is_counted: bool = False
    """Count each try before it is made: it may crash the process."""
    is_rest: bool = False
    """Nothing else was left to read."""

    @property
    def is_isolated(self) -> bool:
        return self.limit != NO_LIMIT


def next_of(reads: Sequence[Read], turns: FairTurns[tuple[object, ...]]) -> Read:
    """The one of these that has waited longest."""
    places: dict[tuple[object, ...], Read] = {}
    for each in reads:
        own = (*each.shards, each.writer, each.entry_id)
        places[own if each.writer else (each.limit, each.is_counted)] = each
    return places[turns.next(places)]
