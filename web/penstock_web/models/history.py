"""The query of a run's row history."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock_common.http.openapi import Operation, Raw
from penstock_web.models import Asked, CommaList

__all__ = ["GET_HISTORY", "RowsQuery"]

_STEP = 2**60


class RowsQuery(Asked):
    keys: CommaList = Field(
        [],
        max_length=10_000,
        description="Only rows that have all of these keys. Defaults to every row.",
    )
    min_step: int | None = Field(None, gt=-_STEP, lt=_STEP, description="First step to return.")
    max_step: int | None = Field(None, gt=-_STEP, lt=_STEP, description="Stop before this step.")
    lanes: Literal["latest", "all"] = Field(
        "latest",
        description="latest: rows of all ranks, each from its latest attempt; all: every lane's rows,"
        " with `_rank` and `_lane`.",
    )
    nan: Literal["text", "bare"] = Field(
        "text",
        description='How to write NaN and ±Inf: as `"NaN"`, or as bare `NaN`, which is not valid JSON but'
        " distinguishable from strings and read by Python's `json`. The content type then says"
        " `nan=bare`.",
    )


GET_HISTORY = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/history", "runs", "Get all rows of a run",
    answers={
        200: Raw("application/x-ndjson", "One JSON object per step and line, in step order.")
    },
    query=RowsQuery, errors=(400, 401, 404, 410), needs_key=False, allow_head=False,
)  # fmt: skip
