"""Operations on sweeps, trials and agents."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from penstock_common.http.openapi import Answered, Asked, Operation

__all__ = [
    "CHANGE_SWEEP_STATE",
    "CREATE_SWEEP",
    "GET_SWEEP",
    "LIST_SWEEPS",
    "LIST_TRIALS",
    "REGISTER_AGENT",
    "SEND_AGENT_HEARTBEAT",
]

Json = dict[str, Any]
State = Literal["PENDING", "RUNNING", "PAUSED", "FINISHED", "CANCELED"]


class CreateSweep(Asked):
    """A sweep to create."""

    project: str | None = Field(None, description="Defaults to the configuration's project.")
    default_project: str | None = Field(
        None, description="Used if neither this request nor the configuration names a project."
    )
    entity: str | None = Field(
        None, description="Defaults to the configuration's entity, then to the API key's."
    )
    name: str | None = Field(None, max_length=256)
    config: str | Json = Field(description="The configuration, as YAML text or as an object.")


class SweepStateChange(Asked):
    """The new state of a sweep."""

    state: Literal["RUNNING", "PAUSED", "FINISHED", "CANCELED"] = Field(
        description="PAUSED: assign no trials for now. RUNNING: resume. FINISHED: assign no more trials. "
        "CANCELED: also stop running trials."
    )


class NewAgent(Asked):
    """An agent that will ask for trials."""

    host: str = Field("", max_length=256)


class HeartbeatBody(Asked):
    """An agent's heartbeat. Repeat it if its answer was lost: the answer will be the same."""

    alive: list[str] = Field(
        default_factory=list,
        max_length=1_000,
        description="The agent's running runs. It gets no new trial while it has any.",
    )
    ended: list[str] = Field(default_factory=list, max_length=1_000, description="Runs that ended.")
    wants: bool = Field(True, description="Whether the agent can take another trial.")


class TrialsQuery(Asked):
    """Which trials to list."""

    after: int = Field(-1, ge=-1, lt=2**62, description="Only trials with an index above this one.")
    limit: int = Field(1_000, ge=1, le=10_000)


class SweepDetails(Answered):
    """A sweep. Times are Unix seconds."""

    entity: str
    project: str
    sweep: str
    name: str
    state: State
    method: str
    config: str = Field(description="The configuration as submitted.")
    program: str
    command: list[str] = Field(
        description="The command with its macros; empty for the default command."
    )
    metric: str
    goal: str
    run_cap: int | None = Field(description="Maximum number of trials.")
    runs: int = Field(description="Number of trials assigned so far.")
    open: int = Field(description="Number of trials that have not ended.")
    best: float | None
    best_run: str | None
    created_at: float
    updated_at: float
    heartbeat_at: float | None
    warnings: list[str] = Field(description="Parts of the configuration that have no effect.")


class SweepList(Answered):
    """A project's sweeps, newest first."""

    sweeps: list[SweepDetails]


class TrialDetails(Answered):
    """One trial."""

    index: int
    run: str
    state: Literal["given", "running", "ended", "settled"]
    run_state: str | None = Field(description="Null until its run starts.")
    handed: int = Field(description="How many times it was assigned.")
    stop: bool = Field(description="Whether it has been asked to stop.")
    parameters: Json
    value: float | None


class TrialList(Answered):
    """Trials in the order in which they were drawn."""

    trials: list[TrialDetails]


class RegisteredAgent(Answered):
    """A newly registered agent."""

    agent: str
    sweep: SweepDetails


class AssignedTrial(Answered):
    """A trial to run: its run id and its parameters."""

    run: str
    index: int
    parameters: Json


class HeartbeatAnswer(Answered):
    """What the agent should do next."""

    state: State
    trial: AssignedTrial | None
    stop: list[str] = Field(description="Runs that the agent must stop.")
    exit: bool = Field(description="True if there is nothing left to do.")
    interval_s: float = Field(description="Seconds until the next heartbeat.")


_SWEEP = "/v1/sweeps/{entity}/{project}/{sweep}"
_WRITE_ERRORS = (400, 401, 403, 404, 408, 409, 413, 415, 503)

CREATE_SWEEP = Operation(
    "POST", "/v1/sweeps", "sweeps", "Create a sweep",
    answers={201: SweepDetails}, body=CreateSweep, errors=_WRITE_ERRORS,
)  # fmt: skip

LIST_SWEEPS = Operation(
    "GET", "/v1/sweeps/{entity}/{project}", "sweeps", "List a project's sweeps",
    answers={200: SweepList}, errors=(400, 401, 404, 503), needs_key=False,
)  # fmt: skip

GET_SWEEP = Operation(
    "GET", _SWEEP, "sweeps", "Get a sweep",
    answers={200: SweepDetails}, errors=(400, 401, 404, 503), needs_key=False,
)  # fmt: skip

LIST_TRIALS = Operation(
    "GET", f"{_SWEEP}/trials", "sweeps", "List a sweep's trials", query=TrialsQuery,
    answers={200: TrialList}, errors=(400, 401, 404, 503), needs_key=False,
)  # fmt: skip

CHANGE_SWEEP_STATE = Operation(
    "POST", f"{_SWEEP}/state", "sweeps", "Pause, resume or stop a sweep",
    answers={200: SweepDetails}, body=SweepStateChange, errors=_WRITE_ERRORS,
)  # fmt: skip

REGISTER_AGENT = Operation(
    "POST", f"{_SWEEP}/agents", "sweeps", "Register an agent",
    answers={201: RegisteredAgent}, body=NewAgent, errors=_WRITE_ERRORS,
)  # fmt: skip

SEND_AGENT_HEARTBEAT = Operation(
    "POST", f"{_SWEEP}/agents/{{agent}}/heartbeat", "sweeps", "Send an agent's heartbeat and get its next trial",
    answers={200: HeartbeatAnswer}, body=HeartbeatBody, errors=_WRITE_ERRORS,
)  # fmt: skip
