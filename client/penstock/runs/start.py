"""How a process takes up a run: from its beginning, from a step of an earlier attempt, or beside other processes."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BESIDE", "FRESH", "RESUME", "Start"]

RESUME = "resume"
BESIDE = "beside"


class Start(NamedTuple):
    """`kind`: RESUME from `step`, BESIDE, or '': what earlier attempts logged from its own first step on
    no longer counts."""

    kind: str = ""
    step: int = 0


FRESH = Start()
