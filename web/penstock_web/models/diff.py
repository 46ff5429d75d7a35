"""The first step at which two runs differ."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from penstock_common.http.openapi import Operation
from penstock_web.models import Answered, Asked, CommaList

__all__ = ["GET_DIFF", "KeyDiff", "RunsDiff"]


class DiffParameters(Asked):
    runs: CommaList = Field(min_length=2, max_length=2, description="The two runs, `a,b`.")
    keys: CommaList = Field([], max_length=10_000, description="Keys to compare. Defaults to all.")
    tolerance: float = Field(
        0.0,
        ge=0,
        description="Numbers that differ by no more than this count as equal; relative to the larger one if"
        " that is above 1. 0 compares bits.",
    )


class KeyDiff(Answered):
    key: str
    step: int = Field(description="The first step at which this key differs.")
    rank: int = Field(description="The rank that differs there; the lowest if several do.")
    a: Any = Field(description="The first run's value; null if it did not log this step.")
    b: Any = Field(description="The second run's value.")


class RunsDiff(Answered):
    step: int | None = Field(
        description="The first step at which any key differs; null if none does."
    )
    keys: list[KeyDiff] = Field(description="Keys that differ, sorted by step, then by name.")
    compared: int = Field(description="Number of keys that both runs have.")
    only_a: list[str] = Field(description="Keys that only the first run has.")
    only_b: list[str] = Field(description="Keys that only the second run has.")


GET_DIFF = Operation(
    "GET", "/v1/projects/{entity}/{project}/diff", "runs",
    "Find the first step at which two runs differ",
    answers={200: RunsDiff}, query=DiffParameters, needs_key=False,
)  # fmt: skip
