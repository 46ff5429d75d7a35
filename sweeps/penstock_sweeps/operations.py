"""The sweeps' operations, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from penstock_common.openapi import Answered, Asked, Operation

__all__ = [
    "OPERATIONS",
    "AskedState",
    "AskedSweep",
    "HeartbeatBody",
    "NewAgent",
    "TrialsQuery",
]  # fmt: skip

Json = dict[str, Any]
State = Literal["PENDING", "RUNNING", "PAUSED", "FINISHED", "CANCELED"]


class AskedSweep(Asked):
    """A sweep to be made."""

    project: str | None = Field(None, description="The configuration's own if absent.")
    default_project: str | None = Field(None, description="Where neither names one.")
    entity: str | None = Field(
        None, description="The configuration's own if absent, then the key's."
    )
    name: str | None = Field(None, max_length=256)
    config: str | Json = Field(description="The configuration: YAML text, or an object.")


class AskedState(Asked):
    """What shall become of a sweep."""

    state: Literal["RUNNING", "PAUSED", "FINISHED", "CANCELED"] = Field(
        description="PAUSED: hand nothing out for now. RUNNING: go on. FINISHED: hand nothing out "
        "any more. CANCELED: stop what runs, too."
    )


class NewAgent(Asked):
    """Who will ask for trials."""

    host: str = Field("", max_length=256)


class HeartbeatBody(Asked):
    """What an agent says. An answer that was lost is had again by saying the same once more."""

    alive: list[str] = Field(
        default_factory=list,
        max_length=1_000,
        description="Runs that it has going. While there are any, it gets no other.",
    )
    ended: list[str] = Field(
        default_factory=list, max_length=1_000, description="Runs that have ended."
    )
    wants: bool = Field(True, description="Whether it takes another trial.")


class TrialsQuery(Asked):
    """Which trials."""

    after: int = Field(-1, ge=-1, lt=2**62, description="Only those with an index above this one.")
    limit: int = Field(1_000, ge=1, le=10_000)


class SweepShown(Answered):
    """A sweep as it is now. Times are Unix seconds."""

    entity: str
    project: str
    sweep: str
    name: str
    state: State
    method: str
    config: str = Field(description="As it was given.")
    program: str
    command: list[str] = Field(description="With its macros; empty: the default one.")
    metric: str
    goal: str
    run_cap: int | None = Field(description="How many trials there are at most.")
    runs: int = Field(description="Trials that were handed out.")
    open: int = Field(description="Trials that go on.")
    best: float | None
    best_run: str | None
    created_at: float
    updated_at: float
    heartbeat_at: float | None
    warnings: list[str] = Field(description="What of the configuration has no effect.")


class SweepList(Answered):
    """A project's sweeps, the newest first."""

    sweeps: list[SweepShown]


class TrialShown(Answered):
    """One trial."""

    index: int
    run: str
    state: Literal["given", "running", "ended", "settled"]
    run_state: str | None = Field(description="Null as long as its run has not begun.")
    handed: int = Field(description="How often it was handed out.")
    stop: bool = Field(description="It was told to stop.")
    parameters: Json
    value: float | None


class TrialList(Answered):
    """Trials in the order in which they were drawn."""

    trials: list[TrialShown]


class AgentShown(Answered):
    """An agent that is known from now on."""

    agent: str
    sweep: SweepShown


class TrialGiven(Answered):
    """A trial to be run: its run's id, and its parameters."""

    run: str
    index: int
    parameters: Json


class HeartbeatAnswer(Answered):
    """What the agent is to do."""

    state: State
    trial: TrialGiven | None
    stop: list[str] = Field(description="Runs that it must end.")
    exit: bool = Field(description="There is nothing more to do.")
    interval_s: float = Field(description="When to ask again.")


_SWEEP = "/v1/sweeps/{entity}/{project}/{sweep}"
_WRITE_ERRORS = (400, 401, 403, 404, 408, 409, 413, 415, 503)

OPERATIONS = [
    Operation(
        "POST", "/v1/sweeps", "sweeps", "Make a sweep",
        answers={201: SweepShown}, body=AskedSweep, errors=_WRITE_ERRORS,
    ),
    Operation(
        "GET", "/v1/sweeps/{entity}/{project}", "sweeps", "A project's sweeps",
        answers={200: SweepList}, errors=(400, 401, 404, 503), needs_key=False,
    ),
    Operation(
        "GET", _SWEEP, "sweeps", "A sweep",
        answers={200: SweepShown}, errors=(400, 401, 404, 503), needs_key=False,
    ),
    Operation(
        "GET", f"{_SWEEP}/trials", "sweeps", "Its trials", query=TrialsQuery,
        answers={200: TrialList}, errors=(400, 401, 404, 503), needs_key=False,
    ),
    Operation(
        "POST", f"{_SWEEP}/state", "sweeps", "Pause it, go on, stop it",
        answers={200: SweepShown}, body=AskedState, errors=_WRITE_ERRORS,
    ),
    Operation(
        "POST", f"{_SWEEP}/agents", "sweeps", "Register an agent",
        answers={201: AgentShown}, body=NewAgent, errors=_WRITE_ERRORS,
    ),
    Operation(
        "POST", f"{_SWEEP}/agents/{{agent}}/heartbeat", "sweeps", "What is alive, and what to do next",
        answers={200: HeartbeatAnswer}, body=HeartbeatBody, errors=_WRITE_ERRORS,
    ),
]  # fmt: skip
