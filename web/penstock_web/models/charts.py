"""Charts: the request (curves, x axis, buckets) and the answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from penstock_common.http.openapi import Operation, Raw, model_of
from penstock_storage.charts.curves import Axis, LaneMode
from penstock_storage.clickhouse.aggregates import AGGREGATES, REPLIES
from penstock_web.models import Answered, Asked

__all__ = ["GET_CHARTS", "ChartAnswer", "ChartRequest", "ChartSeries"]

MAX_RUNS = 5_000
_LIMIT = 2**60
Name = Annotated[str, Field(max_length=1_000)]
Runs = Annotated[list[Name], Field(max_length=MAX_RUNS)]
Number = Annotated[float, Field(gt=-_LIMIT, lt=_LIMIT)]


class ChartRequest(Asked):
    """A chart request, with either `runs` or `groups`."""

    entity: str | None = Field(None, min_length=1, description="Defaults to the API key's entity.")
    project: str = Field(min_length=1)
    runs: Runs | None = Field(None, description="Run ids; unknown ones are ignored.")
    groups: dict[Name, Runs] | None = Field(
        None,
        min_length=1,
        max_length=MAX_RUNS,
        description="Runs by group label; one curve per label and key, aggregated over its runs."
        f" At most {MAX_RUNS:,} runs in total.",
    )
    keys: Annotated[list[Name], Field(max_length=1_000)]
    x: Axis = Field(
        "step",
        description="_timestamp: Unix seconds; relative: seconds since the run started. For aggregated"
        " curves, the mean over their members.",
    )
    from_: Number | None = Field(None, alias="from", description="Bound on the x axis, inclusive.")
    to: Number | None = Field(None, description="Bound on the x axis, inclusive.")
    buckets: int = Field(500, ge=1, le=10_000, description="Maximum number of buckets per curve.")
    lanes: LaneMode = Field(
        "latest",
        description="latest: one curve over all ranks, each with its latest attempt; rank: one curve per"
        " rank; all: one curve per lane.",
    )
    aggregate: Literal["ranks"] | None = Field(
        None, description="ranks: one curve per run and key, aggregated over the run's ranks."
    )

    @model_validator(mode="after")
    def _is_one_question(self) -> ChartRequest:
        if (self.runs is None) == (self.groups is None):
            raise ValueError("give either runs or groups")
        if self.groups is not None and self.aggregate is not None:
            raise ValueError("aggregate cannot be combined with groups")
        if self.lanes != "latest" and (self.groups is not None or self.aggregate is not None):
            raise ValueError("lanes cannot be combined with groups or aggregate")
        if sum(map(len, (self.groups or {}).values())) > MAX_RUNS:
            raise ValueError(f"groups contain more than {MAX_RUNS} runs in total")
        return self


Places = list[int]
Numbers = list[float | None]


def _reply_fields() -> dict[str, Any]:
    return {
        reply.name: (
            Numbers if AGGREGATES[name].dtype is np.float64 else Places,
            Field(description=reply.about or None),
        )
        for name, reply in REPLIES.items()
    }


class ChartSeries(model_of(Answered, _reply_fields())):  # type: ignore[misc]
    """Columns with one entry per non-empty bucket; null where there is no number."""

    group: str | None = Field(None, description="The group label; absent or null without groups.")
    run: str | None = Field(description="Null for a group.")
    key: str
    lane: int | None = Field(None, description="Set for curves by lane.")
    rank: int | None = Field(None, description="Set for curves by lane or rank.")
    x: Numbers = Field(description="The position of that step on the requested axis.")
    std: Numbers | None = Field(
        None,
        description="Aggregated curves: sample standard deviation of the members' means; null below two.",
    )
    stderr: Numbers | None = Field(None, description="Aggregated curves: std / sqrt(samples).")
    samples: Places | None = Field(
        None, description="Aggregated curves: members with a finite point in the bucket."
    )


class ChartAnswer(Answered):
    width: int = Field(description="Steps per bucket, a power of two; buckets are aligned at 0.")
    series: list[ChartSeries]


_SCHEMA: dict[str, Any] = {"type": "string", "format": "binary"}

GET_CHARTS = Operation(
    "POST", "/v1/charts", "charts", "Downsampled curves that keep every spike",
    answers={
        200: (
            ChartAnswer,
            Raw(
                "application/msgpack",
                "The same as MessagePack; each column is a `bin` of little-endian f64 with NaN for null.",
                _SCHEMA,
            ),
        )
    },
    body=ChartRequest, errors=(400, 401, 404, 413), needs_key=False,
)  # fmt: skip
