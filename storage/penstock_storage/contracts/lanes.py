"""A run's lanes, and how their writers took up the run: what an attempt replaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from penstock.wire import SYSTEM_RANK
from penstock_storage.contracts.ids import Micros

__all__ = ["BESIDE", "RESUME", "UNSAID", "LaneRow", "LaneStart"]

RESUME = "resume"
"""It goes on from `step`: of earlier attempts, only what lies before that counts."""
BESIDE = "beside"
"""It logs beside others, whose rows stay: a forked child, an evaluation of a run that still trains."""


class LaneStart(NamedTuple):
    """`kind`: RESUME, BESIDE, or '' for a writer that says nothing: it replaces earlier attempts from its
    own first step on. `began`: when it started, in µs by the server's clock; 0 if unknown."""

    kind: str = ""
    step: int = 0
    began: int = 0


UNSAID = LaneStart()


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A lane belongs to one (run, writer), which began at `started` by its own clock."""

    run: int
    lane: int
    writer: str
    rank: int
    started: Micros
    start: LaneStart = UNSAID
    """As its writer says."""
    outlived: bool = False
    """What it says that it resumes has gone on: it logs beside that."""

    def by_server_clock(self, at: int) -> int:
        """A time (µs) that the writer's machine noted, by the server's clock."""
        return at + self.start.began - self.started if self.start.began else at

    @property
    def order(self) -> tuple[int, int]:
        """Sorts the lanes of a rank from the oldest attempt to the newest."""
        return self.start.began or self.started, self.lane

    @property
    def kind(self) -> str:
        """RESUME, BESIDE or '', as it turned out."""
        return BESIDE if self.outlived else self.start.kind

    def precedence(self) -> tuple[int, bool, int, int]:
        """Sorts the lanes of a run by whose value counts at a step: low ranks first, and of a rank the
        newest attempt, before those that log beside it."""
        return self.rank, self.kind == BESIDE, -self.order[0], self.lane

    @property
    def is_system(self) -> bool:
        """Whether it holds system metrics, which have steps of their own and are not part of the run's
        history."""
        return self.rank >= SYSTEM_RANK
