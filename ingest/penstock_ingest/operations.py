"""The write side's operations. docs/wire.md has the binary format."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from penstock.wire import CONTENT_TYPE, MAX_STEP
from penstock.wire.records import RunState
from penstock_common.http.openapi import Answered, Asked, Operation, Raw, model_of
from penstock_common.http.run_models import given_fields

__all__ = ["CREATE_RUN", "GET_WRITER", "QUEUE_BATCHES", "SEND_HEARTBEATS", "Heartbeat", "NewRun"]

Name = Field(min_length=1, max_length=256)
Json = dict[str, Any]


class Row(Asked):
    """The values logged at one step: numbers become points, everything else becomes a value."""

    model_config = ConfigDict(extra="allow")
    step: int = Field(gt=-MAX_STEP, lt=MAX_STEP)
    timestamp: float | None = Field(
        None,
        alias="_timestamp",
        ge=0,
        lt=1e12,
        description="Unix seconds; defaults to the time of arrival.",
    )


class Rows(Asked):
    """Rows sent by hand, for example with curl."""

    project: str = Name
    run: str = Name
    entity: str | None = Field(None, description="Defaults to the API key's entity.")
    rows: list[Row] = Field(default_factory=list)
    config: Json | None = None
    summary: Json | None = None
    state: RunState | None = None
    name: str | None = None
    tags: list[str] | None = None


class Wait(Asked):
    """When to reply."""

    wait: Literal["committed"] | None = Field(
        None,
        description="`committed`: reply with 200 once everything is stored, or with 202 and the "
        "current positions after `timeout_s`.",
    )
    timeout_s: float = Field(30.0, gt=0, le=30)


_COMMITTED = Field(description="This number and all before it are stored; null while unknown.")

_STORE = Field(description="Changes when the store was replaced.")
_INTERVAL = Field(description="How long the client should collect rows between requests.")
_DEAD = Field(
    description="Numbers of batches that became dead letters because they cannot be processed, in "
    "order: the client keeps its copies."
)


class PositionReply(Answered):
    """The position of one writer."""

    entity: str
    project: str
    run: str
    writer: str
    queued: int = Field(description="This number and all before it were accepted.")
    committed: int | None = _COMMITTED
    queue: str
    dead: list[int] = _DEAD


class Accepted(Answered):
    """All batches in the body are queued, or were already."""

    queued: int
    committed: int | None = _COMMITTED
    queue: str = Field(
        description="Changes when the queue lost data: send uncommitted batches again."
    )
    store: str = _STORE
    interval_s: float = _INTERVAL
    commands: list[Any]
    marks: list[PositionReply] = Field(description="One position for each writer in the body.")
    dead: list[int] = _DEAD


class Heartbeat(Asked):
    """One writer of a client."""

    entity: str | None = Field(None, description="Defaults to the API key's entity.")
    project: str = Name
    run: str = Name
    writer: str = Name
    alive: bool = Field(description="Whether its process still runs.")


class Heartbeats(Asked):
    """The writers of a client."""

    writers: list[Heartbeat] = Field(max_length=1_000)


class HeartbeatReply(Answered):
    """The positions of these writers; `queued` is 0, since nothing was sent."""

    store: str = _STORE
    interval_s: float = _INTERVAL
    commands: list[Any]
    marks: list[PositionReply] = Field(
        description="One for each writer, in the order of the request."
    )


class NewRun(model_of(Asked, given_fields())):  # type: ignore[misc]
    """A run to create before its first batch."""

    project: str
    run: str | None = Field(None, description="Defaults to a generated id.")
    entity: str | None = None
    config: Json | None = None


_RUN = Raw("application/json", "The run, as in `GET /v1/runs/…`.", {"type": "object"})

QUEUE_BATCHES = Operation(
    "POST", "/v1/batches", "write", "Queue batches, or rows",
    answers={202: Accepted, 200: Accepted},
    query=Wait,
    body=[Raw(CONTENT_TYPE, "Length-prefixed batches, see docs/wire.md."), Rows],
    errors=(400, 401, 403, 408, 409, 410, 413, 415, 429, 503),
)  # fmt: skip

SEND_HEARTBEATS = Operation(
    "POST", "/v1/heartbeats", "write", "Report live runs, get writers' positions",
    answers={200: HeartbeatReply}, body=Heartbeats, errors=(400, 401, 403, 408, 413, 415, 503),
)  # fmt: skip

GET_WRITER = Operation(
    "GET", "/v1/writers/{entity}/{project}/{run}/{writer}", "write", "Get a writer's position",
    answers={200: Accepted}, errors=(400, 401, 403, 410, 503),
)  # fmt: skip

CREATE_RUN = Operation(
    "POST", "/v1/runs", "write", "Create a run",
    answers={201: _RUN, 200: _RUN}, body=NewRun, errors=(400, 401, 403, 408, 413, 415, 503),
)  # fmt: skip
