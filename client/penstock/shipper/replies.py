"""The server's reply about one writer, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """`store` and `queue` identify what `committed` is a number in; both are empty if unknown.
    `committed` is the position of the writer in the store, None if the queue does not know it. `dead`
    are the numbers of dead letters. `interval_s`: how often batches should come."""

    store: str = ""
    queue: str = ""
    committed: int | None = None
    dead: tuple[int, ...] = ()
    interval_s: float | None = None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Reply:
        """The reply in these decoded fields; what is not of its type counts as absent."""
        committed, dead, interval_s = map(fields.get, ("committed", "dead", "interval_s"))
        numbers = dead if isinstance(dead, list) else []
        return cls(
            store=str(fields.get("store") or ""),
            queue=str(fields.get("queue") or ""),
            committed=committed if isinstance(committed, int) else None,
            dead=tuple(number for number in numbers if isinstance(number, int)),
            interval_s=float(interval_s) if isinstance(interval_s, (int, float)) else None,
        )
