"""The write side's operations, for the OpenAPI document. docs/wire.md has the binary format."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from penstock.wire import CONTENT_TYPE, MAX_STEP
from penstock_common.openapi import Answered, Asked, Operation, Raw

__all__ = ["OPERATIONS", "Heartbeat", "Heartbeats", "NewRun", "Wait"]

Name = Field(min_length=1, max_length=256)
Json = dict[str, Any]


class Row(Asked):
    """What was logged at one step: numbers become points, everything else a value."""

    model_config = ConfigDict(extra="allow")
    step: int = Field(gt=-MAX_STEP, lt=MAX_STEP)
    timestamp: float | None = Field(
        None,
        alias="_timestamp",
        ge=0,
        lt=1e12,
        description="Unix seconds; the time of arrival if absent.",
    )


class Rows(Asked):
    """Rows by hand, as with curl."""

    project: str = Name
    run: str = Name
    entity: str | None = Field(None, description="The key's own if absent.")
    rows: list[Row] = Field(default_factory=list)
    config: Json | None = None
    summary: Json | None = None
    state: Literal["running", "finished", "failed", "crashed", "preempting"] | None = None
    name: str | None = None
    tags: list[str] | None = None


class Wait(Asked):
    """When to answer."""

    wait: Literal["committed"] | None = Field(
        None,
        description="`committed`: answer 200 once the store has everything, or 202 with what is "
        "known when the time is over.",
    )
    timeout_s: float = Field(30.0, gt=0, le=30)


_COMMITTED = Field(
    description="This number and all before it are in the store; null while nobody knows."
)

_STORE = Field(description="Changes when the store was replaced.")
_INTERVAL = Field(description="How long the server asks this client to collect.")
_DEAD = Field(
    description="Numbers that were put aside because they cannot be processed, in order: the "
    "sender keeps its copies."
)


class PositionReply(Answered):
    """Where one writer stands."""

    entity: str
    project: str
    run: str
    writer: str
    queued: int = Field(description="This number and all before it were accepted.")
    committed: int | None = _COMMITTED
    queue: str
    dead: list[int] = _DEAD


class Accepted(Answered):
    """Everything in the body is in the queue, or was before."""

    queued: int
    committed: int | None = _COMMITTED
    queue: str = Field(
        description="Changes when the queue was lost: send what is not committed again."
    )
    store: str = _STORE
    interval_s: float = _INTERVAL
    commands: list[Any]
    marks: list[PositionReply] = Field(description="One for each writer in the body.")
    dead: list[int] = _DEAD


class Heartbeat(Asked):
    """One writer of a client."""

    entity: str | None = Field(None, description="The key's own if absent.")
    project: str = Name
    run: str = Name
    writer: str = Name
    alive: bool = Field(description="Whether its process still runs.")


class Heartbeats(Asked):
    """All writers of a client that are of interest to it."""

    writers: list[Heartbeat] = Field(max_length=1_000)


class HeartbeatReply(Answered):
    """Where these writers stand; `queued` is 0, since nothing was sent."""

    store: str = _STORE
    interval_s: float = _INTERVAL
    commands: list[Any]
    marks: list[PositionReply] = Field(description="One for each writer, in the order asked.")


class NewRun(Asked):
    """A run to be made before its first batch."""

    project: str
    run: str | None = Field(None, description="An id of its own if absent.")
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    tags: list[str] | None = None
    config: Json | None = None


_RUN = Raw("application/json", "The run, as `GET /v1/runs/…` shows it.", {"type": "object"})

OPERATIONS = [
    Operation(
        "POST", "/v1/batches", "write", "Queue batches, or rows",
        answers={202: Accepted, 200: Accepted},
        query=Wait,
        body=[Raw(CONTENT_TYPE, "Length-prefixed batches, see docs/wire.md."), Rows],
        errors=(400, 401, 403, 408, 409, 410, 413, 415, 429, 503),
    ),
    Operation(
        "POST", "/v1/heartbeats", "write", "Say which runs are alive, learn where writers stand",
        answers={200: HeartbeatReply}, body=Heartbeats, errors=(400, 401, 403, 408, 413, 415, 503),
    ),
    Operation(
        "GET", "/v1/writers/{entity}/{project}/{run}/{writer}", "write", "Where a writer stands",
        answers={200: Accepted}, errors=(400, 401, 403, 410, 503),
    ),
    Operation(
        "POST", "/v1/runs", "write", "Make a run",
        answers={201: _RUN, 200: _RUN}, body=NewRun, errors=(400, 401, 403, 408, 413, 415, 503),
    ),
]  # fmt: skip
