"""Bounds on the number of runs, writers and keys: what one tenant creates takes memory in processes that
all tenants share. Ordinary sweeps stay far below.

`penstock.wire.Limits` is about one request; bounds are about what all requests together create.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected

__all__ = ["DEFAULT_BOUNDS", "MAX_LANES", "Bounds", "Owner", "refusal"]

MAX_LANES = 2**16
"""The number of writers of a run that the point store can distinguish."""

_LEVELS = ("entity", "project", "run")
_CODES = {"runs": ErrorCode.TOO_MANY_RUNS, "writers": ErrorCode.TOO_MANY_WRITERS}
_HINTS = {
    "runs": "Delete runs, or raise the server's PENSTOCK_RUNS_PER_{level}.",
    "writers": "Log from fewer processes, or to another run; see PENSTOCK_WRITERS_PER_{level}.",
}


class Owner(NamedTuple):
    """What a bound applies to: the runs, writers or keys of one entity, project or run."""

    what: str
    """runs | writers | keys"""
    path: str
    """`entity`, `entity/project` or `entity/project/run`"""

    @property
    def level(self) -> str:
        return _LEVELS[self.path.count("/")]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest number of each."""

    runs_per_entity: int = 5_000_000
    runs_per_project: int = 1_000_000
    writers_per_entity: int = 10_000_000
    writers_per_run: int = 50_000
    keys_per_project: int = 1_000_000
    keys_per_run: int = 100_000

    def of(self, owner: Owner) -> int:
        """The most that this owner may have."""
        most: int = getattr(self, f"{owner.what}_per_{owner.level}")
        return min(most, MAX_LANES) if owner.level == "run" and owner.what == "writers" else most


DEFAULT_BOUNDS = Bounds()


def refusal(owner: Owner) -> Rejected:
    """The final refusal (422) of a batch that needs another run or writer of this owner."""
    return Rejected(
        f"{owner.level} {owner.path} has as many {owner.what} as it may have",
        code=_CODES[owner.what],
        hint=_HINTS[owner.what].format(level=owner.level.upper()),
    )
