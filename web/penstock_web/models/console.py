"""A run's console output."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock_common.http.openapi import Operation
from penstock_web.models import Answered, Asked

__all__ = ["GET_CONSOLE", "Console"]

_PLACE = r"^-?\d{1,15}\.\d{1,5}$"


class ConsoleLinesQuery(Asked):
    after: str | None = Field(
        None,
        pattern=_PLACE,
        description="Only lines after this position: `next` of another answer.",
    )
    before: str | None = Field(
        None,
        pattern=_PLACE,
        description="Only lines before this position: `previous` of another answer.",
    )
    end: Literal["first", "last"] = Field(
        "first", description="Which of the matching lines to return: the first or the last."
    )
    limit: int = Field(1_000, ge=1, le=10_000, description="Maximum number of lines to return.")
    search: str = Field(
        "", max_length=500, description="Only lines that contain this text, ignoring case."
    )
    stream: str = Field(
        "", max_length=100, description="Only lines of this stream: stdout or stderr."
    )
    lane: int | None = Field(None, ge=0, le=65_535, description="Only lines of this writer.")


class ConsoleLineOfRun(Answered):
    line: int = Field(description="Line number, from 0; each writer counts separately.")
    lane: int = Field(description="The writer's lane; see `lanes`.")
    stream: str
    time: float | None = Field(description="Unix seconds; null if unknown.")
    text: str = Field(description="The line as printed, including ANSI colour codes.")


class ConsoleLane(Answered):
    lane: int
    rank: int
    writer: str


class Console(Answered):
    lines: list[ConsoleLineOfRun] = Field(description="Oldest first.")
    total: int = Field(description="Number of lines that match search, stream and lane.")
    lanes: list[ConsoleLane] = Field(description="The writers that printed something.")
    previous: str | None = Field(
        description="`before` for the preceding lines; null if there are no lines."
    )
    next: str | None = Field(
        description="`after` for the following lines, including those not printed yet; null if there are no"
        " lines."
    )


GET_CONSOLE = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/console", "files", "Get a run's console output by line",
    answers={200: Console}, query=ConsoleLinesQuery, needs_key=False,
)  # fmt: skip
