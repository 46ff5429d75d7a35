"""Sweeps, their agents and trials as rows, and what the search for parameters asks of their catalog."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from penstock.errors import Rejected

__all__ = [
    "AgentHeartbeat",
    "AgentRow",
    "Draw",
    "Drawn",
    "Lesson",
    "NewSweep",
    "PriorRun",
    "SweepCatalog",
    "SweepCount",
    "SweepRow",
    "TrialAssignment",
    "TrialRow",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewSweep:
    """A sweep to be made. `goal` is minimize, maximize or, without a metric, nothing."""

    entity: str
    project: str
    sweep: str
    name: str
    source: str
    goal: str


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A sweep as the catalog knows it. Times are microseconds since 1970 UTC."""

    number: int
    entity: str
    project: str
    project_number: int
    sweep: str
    name: str
    state: str
    """PENDING, RUNNING, PAUSED, FINISHED or CANCELED."""
    source: str
    """The configuration as it was given: YAML."""
    goal: str
    drawn: int
    """How many trials were drawn so far: the index of the next."""
    created_at: int
    updated_at: int
    heartbeat_at: int


@dataclass(frozen=True, slots=True)
class AgentRow:
    """A process that asks for trials. `agent` is unique among all sweeps."""

    number: int
    agent: str
    sweep: int
    host: str
    created_at: int
    heartbeat_at: int


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One drawing of the parameters, and the run that tries it."""

    sweep: int
    index: int
    run: str
    state: str
    """given (its run has not begun), running, ended (its value may change yet), or settled."""
    agent: int
    handed: int
    """How often it was handed out."""
    lease_until: int
    stop: bool
    """Its run is to be stopped."""
    parameters: dict[str, Any]
    point: dict[str, float]
    """Where it was drawn, by the parameter's name; see `penstock_sweeps.space`."""
    value: float | None
    rungs: dict[str, float]
    """What hyperband compares: the value by bracket."""
    ended_at: int
    run_number: int | None = None
    run_state: str | None = None
    """Of its run, if that has begun."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A trial that was just drawn."""

    parameters: dict[str, Any]
    point: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PriorRun:
    """A run from before a sweep that counts for it, and the run's config."""

    number: int
    config: dict[str, Any]


Draw = Callable[[int], "Drawn | None"]
"""The trial of this index; None if the search has an end and this is behind it. Called inside a
transaction: it must be quick."""


@dataclass(frozen=True, slots=True, eq=False)
class AgentHeartbeat:
    """What an agent says: which runs it has alive, which have ended, and whether it wants another.

    `lease_us`: how long a trial stays with an agent that is silent. `cap`: so many trials are drawn
    at most.
    """

    agent: str
    alive: frozenset[str]
    ended: frozenset[str]
    wants: bool
    lease_us: int
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class TrialAssignment:
    """What an agent gets: perhaps a trial, the runs that it must stop, whether it may leave."""

    state: str
    trial: TrialRow | None = None
    stops: tuple[str, ...] = ()
    exit: bool = False


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was learned of a trial."""

    index: int
    state: str
    value: float | None
    rungs: dict[str, float]
    stop: bool


@dataclass(frozen=True, slots=True)
class SweepCount:
    """Trials that were drawn, that are going on, and the best value with its run."""

    runs: int = 0
    open: int = 0
    best: float | None = None
    best_run: str | None = None


class SweepCatalog(Protocol):
    """Sweeps, agents and trials: what is handed out is decided in one transaction each."""

    async def create(self, new: NewSweep, now: int) -> SweepRow:
        """Make a sweep (PENDING), and its project where missing."""

    async def change(
        self,
        sweep: int,
        now: int,
        *,
        state: str | None = None,
        name: str | None = None,
        source: str | None = None,
        goal: str | None = None,
    ) -> SweepRow:
        """Set what is not None. Raises `Rejected` (409) if a sweep that ended shall go on."""

    async def find(self, entity: str, project: str, sweep: str) -> SweepRow | None: ...

    async def by_number(self, sweep: int) -> SweepRow | None: ...

    async def of_project(self, entity: str, project: str) -> list[SweepRow]:
        """The newest first."""

    async def count(self, sweeps: Collection[int]) -> dict[int, SweepCount]:
        """For each of these sweeps; those without trials are absent."""

    async def add_agent(self, sweep: int, agent: str, host: str, now: int) -> AgentRow: ...

    async def agent(self, agent: str) -> AgentRow | None: ...

    async def agents(self, sweep: int) -> list[AgentRow]:
        """All of a sweep, in order."""

    async def trials_of(self, agent: int, sweep: int) -> list[TrialRow]:
        """The trials that are this agent's, in order."""

    async def heartbeat(
        self, asked: Sequence[tuple[AgentHeartbeat, Draw]], clock: Callable[[], int]
    ) -> list[TrialAssignment | Rejected]:
        """Take in what agents say, each once, and hand out what they get, in one transaction. An
        unknown agent gets a refusal (404). `clock` (µs) is read once nobody else can decide."""

    async def trials(self, sweep: int, after: int, limit: int) -> list[TrialRow]:
        """Those with an index above `after`, in order."""

    async def unsettled(self, sweep: int) -> list[TrialRow]:
        """Trials of which there is more to learn, with their runs."""

    async def known(self, sweep: int, best: int, latest: int) -> list[TrialRow]:
        """So many of the trials with the best values and so many of the latest, in order."""

    async def add_prior_runs(self, sweep: int, numbers: Sequence[int]) -> None:
        """Let these runs, by number, count for the sweep; those that do already stay."""

    async def prior_runs(self, sweep: int) -> list[PriorRun]:
        """Those of the sweep that exist, in the order in which they were added."""

    async def rungs(self, sweep: int) -> list[dict[str, float]]:
        """What is known for hyperband of every trial."""

    async def learn(self, sweep: int, lessons: Sequence[Lesson], done: bool, now: int) -> None:
        """Write down what was learned; with `done` (there is nothing more to draw) the sweep is
        FINISHED once no trial goes on."""
