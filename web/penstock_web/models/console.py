"""What a run printed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock_common.openapi import Operation
from penstock_web.models import Answered, Asked

__all__ = ["OPERATIONS", "Console", "ConsoleAsked"]

_PLACE = r"^-?\d{1,15}\.\d{1,5}$"


class ConsoleAsked(Asked):
    after: str | None = Field(
        None, pattern=_PLACE, description="Only lines behind this: the `next` of another answer."
    )
    before: str | None = Field(
        None,
        pattern=_PLACE,
        description="Only lines before this: the `previous` of another answer.",
    )
    end: Literal["first", "last"] = Field(
        "first", description="first: the first lines of those asked for; last: the last of them."
    )
    limit: int = Field(1_000, ge=1, le=10_000, description="At most so many in an answer.")
    search: str = Field(
        "", max_length=500, description="Only lines with this text; upper and lower case are alike."
    )
    stream: str = Field(
        "", max_length=100, description="Only lines of this stream: stdout, stderr."
    )
    lane: int | None = Field(None, ge=0, le=65_535, description="Only lines of this writer.")


class ConsoleLineOfRun(Answered):
    line: int = Field(description="Its number, from 0; each writer counts by itself.")
    lane: int = Field(description="Whose it is: see `lanes`.")
    stream: str
    time: float | None = Field(description="Seconds since 1970 UTC; null if nobody said.")
    text: str = Field(description="As it was printed, ANSI colours and all.")


class ConsoleLane(Answered):
    lane: int
    rank: int
    writer: str


class Console(Answered):
    lines: list[ConsoleLineOfRun] = Field(description="In order, the oldest first.")
    total: int = Field(
        description="Lines that match the search, stream and lane, wherever they are."
    )
    lanes: list[ConsoleLane] = Field(description="The writers that printed anything.")
    previous: str | None = Field(
        description="`before` of the lines in front of these; null if there are none here."
    )
    next: str | None = Field(
        description="`after` of the lines behind these, those that are yet to come included; null"
        " if there are none here."
    )


OPERATIONS = [
    Operation(
        "GET", "/v1/runs/{entity}/{project}/{run}/console", "files", "What a run printed, by line",
        answers={200: Console}, query=ConsoleAsked, needs_key=False,
    ),
]  # fmt: skip
