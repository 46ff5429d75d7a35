"""Charts: which curves, over which axis, in how many buckets; and what comes back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from penstock_common.openapi import Operation, Raw
from penstock_storage.curves import Axis, LaneMode
from penstock_web.models import Answered, Asked

__all__ = ["OPERATIONS", "ChartAnswer", "ChartAsked", "ChartSeries"]

MAX_RUNS = 5_000
_LIMIT = 2**60
Name = Annotated[str, Field(max_length=1_000)]
Runs = Annotated[list[Name], Field(max_length=MAX_RUNS)]
Number = Annotated[float, Field(gt=-_LIMIT, lt=_LIMIT)]


class ChartAsked(Asked):
    """Either `runs` or `groups`."""

    entity: str | None = Field(None, min_length=1, description="The asker's own if not given.")
    project: str = Field(min_length=1)
    runs: Runs | None = Field(None, description="Run ids; unknown ones are left out.")
    groups: dict[Name, Runs] | None = Field(
        None,
        min_length=1,
        max_length=MAX_RUNS,
        description="Labels and the runs of each: one curve for each label and key, over its runs."
        f" At most {MAX_RUNS:,} runs in all.",
    )
    keys: Annotated[list[Name], Field(max_length=1_000)]
    x: Axis = Field(
        "step",
        description="_timestamp: Unix seconds; relative: seconds since the run began. The mean over"
        " the members of an aggregated curve.",
    )
    from_: Number | None = Field(None, alias="from", description="On the x axis, inclusive.")
    to: Number | None = Field(None, description="On the x axis, inclusive.")
    buckets: int = Field(500, ge=1, le=10_000, description="At most so many in each curve.")
    lanes: LaneMode = Field(
        "latest",
        description="latest: ranks together, each with its latest attempt; rank: a curve for each;"
        " all: one for each lane.",
    )
    aggregate: Literal["ranks"] | None = Field(
        None, description="ranks: one curve for each run and key, over the run's ranks."
    )

    @model_validator(mode="after")
    def _is_one_question(self) -> ChartAsked:
        if (self.runs is None) == (self.groups is None):
            raise ValueError("give either runs or groups")
        if self.groups is not None and self.aggregate is not None:
            raise ValueError("aggregate goes with runs, not with groups")
        if self.lanes != "latest" and (self.groups is not None or self.aggregate is not None):
            raise ValueError("lanes goes with curves that are not aggregated")
        if sum(map(len, (self.groups or {}).values())) > MAX_RUNS:
            raise ValueError(f"groups have more than {MAX_RUNS} runs in all")
        return self


Places = list[int]
Numbers = list[float | None]


class ChartSeries(Answered):
    """Columns with a number for each bucket that holds a point; null where there is none."""

    group: str | None = Field(None, description="The label; absent or null without groups.")
    run: str | None = Field(description="Null for a group.")
    key: str
    lane: int | None = Field(None, description="Set where curves are by lane.")
    rank: int | None = Field(None, description="Set where curves are by lane or rank.")
    step: Places = Field(description="The last step of the bucket that holds a point.")
    x: Numbers = Field(description="Its place on the axis asked for.")
    min: Numbers = Field(description="Over all finite points.")
    max: Numbers
    mean: Numbers = Field(description="Aggregated: the mean of the members' means.")
    std: Numbers | None = Field(
        None, description="Of the members' means, with n - 1; null for fewer than two. Aggregated."
    )
    stderr: Numbers | None = Field(None, description="std / sqrt(samples). Aggregated.")
    samples: Places | None = Field(
        None, description="Members with a finite point in the bucket. Aggregated."
    )
    last: Numbers = Field(description="Aggregated: the mean of the members' last values.")
    count: Places = Field(description="Finite points.")
    non_finite: Places = Field(description="NaN and infinities.")
    first_step: Places


class ChartAnswer(Answered):
    width: int = Field(description="Steps in a bucket, a power of two; buckets are aligned at 0.")
    series: list[ChartSeries]


_SCHEMA: dict[str, Any] = {"type": "string", "format": "binary"}

OPERATIONS = [
    Operation(
        "POST", "/v1/charts", "charts", "Curves of many points in few buckets, every spike kept",
        answers={
            200: (
                ChartAnswer,
                Raw(
                    "application/msgpack",
                    "The same; each column is `bin` of little-endian f64, NaN stands for null.",
                    _SCHEMA,
                ),
            )
        },
        body=ChartAsked, errors=(400, 401, 404, 413), needs_key=False,
    ),
]  # fmt: skip
