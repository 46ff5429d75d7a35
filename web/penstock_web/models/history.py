"""Row history: what it can be asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock_common.openapi import Operation, Raw
from penstock_web.models import Asked, CommaList

__all__ = ["OPERATIONS", "RowsQuery"]

_STEP = 2**60


class RowsQuery(Asked):
    keys: CommaList = Field(
        [], max_length=10_000, description="Only rows that have all of these; any if not given."
    )
    min_step: int | None = Field(
        None, gt=-_STEP, lt=_STEP, description="The first step; all if not given."
    )
    max_step: int | None = Field(
        None, gt=-_STEP, lt=_STEP, description="The step before which to end; all if not given."
    )
    lanes: Literal["latest", "all"] = Field(
        "latest",
        description="latest: ranks together, each with its latest attempt; all: every lane's rows,"
        " with `_rank` and `_lane`.",
    )
    nan: Literal["text", "bare"] = Field(
        "text",
        description='How NaN and ±Inf are written: `"NaN"`, or `NaN`, which is no JSON, but tells them'
        " from texts, and which Python's `json` reads. Then the answer's type says `nan=bare`.",
    )


OPERATIONS = [
    Operation(
        "GET", "/v1/runs/{entity}/{project}/{run}/history", "runs", "Every row of a run",
        answers={
            200: Raw("application/x-ndjson", "One JSON object a line and step, in step order.")
        },
        query=RowsQuery, errors=(400, 401, 404, 410), needs_key=False,
    ),
]  # fmt: skip
