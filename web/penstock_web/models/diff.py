"""The first step at which two runs differ."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from penstock_common.openapi import Operation
from penstock_web.models import Answered, Asked, CommaList

__all__ = ["OPERATIONS", "DiffParameters", "KeyDiff", "RunsDiff"]


class DiffParameters(Asked):
    runs: CommaList = Field(min_length=2, max_length=2, description="The two runs, `a,b`.")
    keys: CommaList = Field([], max_length=10_000, description="Only these keys; all if not given.")
    tolerance: float = Field(
        0.0,
        ge=0,
        description="Numbers this close are equal; where the larger one is above 1, this part of it."
        " 0: the same bits.",
    )


class KeyDiff(Answered):
    key: str
    step: int = Field(description="The first step at which this key differs.")
    rank: int = Field(description="The rank that differs there, the lowest if several do.")
    a: Any = Field(description="What the first run logged there; null if it did not log the step.")
    b: Any = Field(description="What the second run logged there.")


class RunsDiff(Answered):
    step: int | None = Field(
        description="The first step at which any key differs; null: none does."
    )
    keys: list[KeyDiff] = Field(description="The keys that differ, by step, then by name.")
    compared: int = Field(description="How many keys both runs have.")
    only_a: list[str] = Field(description="Keys that only the first run has.")
    only_b: list[str] = Field(description="Keys that only the second run has.")


OPERATIONS = [
    Operation(
        "GET", "/v1/projects/{entity}/{project}/diff", "runs",
        "The first step at which two runs differ",
        answers={200: RunsDiff}, query=DiffParameters, needs_key=False,
    ),
]  # fmt: skip
