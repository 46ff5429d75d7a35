"""Sweeps, their agents and their runs as nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.errors import Rejected
from penstock_compat.wandb.artifacts.facts import project_info
from penstock_compat.wandb.graphql.nodes import Node, connection, field
from penstock_compat.wandb.ids import decode_id, encode_id
from penstock_compat.wandb.prior_runs import prior_runs
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.run_state import STOP
from penstock_compat.wandb.runs.run import RunNode
from penstock_compat.wandb.values import loads_map, timestamp
from penstock_storage.contracts.interface import RunRow
from penstock_storage.contracts.sweep_rows import AgentRow, SweepCount, SweepRow, TrialRow
from penstock_sweeps.configuration import SweepConfiguration, stored_configuration
from penstock_sweeps.engine import not_found

__all__ = ["AgentNode", "SweepNode", "SweepRun", "known_agent"]

_MAX_RUNS = 100
"""How many of a sweep's latest runs to return: callers want its current progress."""
_PAGE = 1_000
_ALIVE_US = 60_000_000
_GOING_ON = ("running", "preempting")


class SweepRun(RunNode):
    """A run as part of its sweep."""

    @field
    def exitcode(self) -> int | None:
        code = self.row.info.get("exit_code")
        return code if isinstance(code, int) else None

    @field
    def should_stop(self) -> bool:
        return bool(self.row.info.get(STOP))

    @field
    def stopped(self) -> bool:
        return bool(self.row.info.get(STOP)) and not self.running()

    @field
    def failed(self) -> bool:
        return self.row.state in ("failed", "crashed")

    @field
    def running(self) -> bool:
        return self.row.state in _GOING_ON

    @field
    async def sampled_history(self, specs: list[str] | str) -> list[list[dict[str, Any]]]:
        """Agents request no keys; then nothing is read, however many runs there are."""
        texts = [specs] if isinstance(specs, str) else specs
        asks = any(loads_map("specs", text).get("keys") for text in texts)
        return await super().sampled_history(specs) if asks else []


class SweepNode(Node):
    """A sweep."""

    typename = "Sweep"

    def __init__(self, context: RequestContext, row: SweepRow, count: SweepCount) -> None:
        self.context = context
        self.row = row
        self.count = count

    @property
    def configuration(self) -> SweepConfiguration:
        return stored_configuration(self.row.source)

    @field
    def id(self) -> str:
        return encode_id("Sweep", self.row.number)

    @field
    def name(self) -> str:
        return self.row.sweep

    @field
    def display_name(self) -> str | None:
        return self.row.name or None

    @field
    def method(self) -> str:
        return self.configuration.method

    @field
    def state(self) -> str:
        return self.row.state

    @field
    def description(self) -> str:
        return self.configuration.description

    @field
    def config(self) -> str:
        return self.row.source

    @field
    def created_at(self) -> str:
        return timestamp(self.row.created_at)

    @field
    def updated_at(self) -> str:
        return timestamp(self.row.updated_at)

    @field
    def heartbeat_at(self) -> str | None:
        return timestamp(self.row.heartbeat_at) if self.row.heartbeat_at else None

    @field
    def best_loss(self) -> float | None:
        return self.count.best

    @field
    def run_count(self) -> int:
        return self.count.runs

    @field
    def run_count_expected(self) -> int | None:
        return self.configuration.cap

    @field
    def early_stop_job_running(self) -> bool:
        return self.configuration.hyperband is not None and self.row.state == "RUNNING"

    @field
    def controller(self) -> None:
        return None

    @field
    def scheduler(self) -> None:
        return None

    @field
    def project(self) -> dict[str, Any]:
        return project_info(self.row.entity, self.row.project, self.row.project_number)

    @field
    async def runs(self) -> dict[str, Any]:
        after = max(-1, self.count.runs - _MAX_RUNS - 1)
        trials = await self.context.deps.sweeps.trials(self.row, after, _MAX_RUNS)
        return connection("Run", await _runs(self.context, trials))

    @field
    async def prior_runs(self) -> dict[str, Any]:
        return await prior_runs(self.context, self.row)

    @field
    async def agents(self) -> dict[str, Any]:
        found = await self.context.deps.sweeps.agents(self.row)
        return connection("Agent", [AgentNode(self.context, row, self.row) for row in found])

    @field
    async def agent(self, agent_name: str) -> AgentNode:
        row, sweep = await self.context.deps.sweeps.agent(known_agent(agent_name))
        if sweep.number != self.row.number:
            raise not_found("agent")
        return AgentNode(self.context, row, sweep)


class AgentNode(Node):
    """A process that asks for trials."""

    typename = "Agent"

    def __init__(self, context: RequestContext, row: AgentRow, sweep: SweepRow) -> None:
        self.context = context
        self.row = row
        self.sweep = sweep

    @field
    def id(self) -> str:
        return encode_id("Agent", self.row.agent)

    @field
    def name(self) -> str:
        return self.row.agent

    @field
    def host(self) -> str:
        return self.row.host

    @field
    def state(self) -> str:
        is_heard = self.sweep.heartbeat_at - self.row.heartbeat_at < _ALIVE_US
        return "RUNNING" if is_heard and self.sweep.state == "RUNNING" else "FINISHED"

    @field
    async def total_runs(self) -> int:
        return len(await self.context.deps.sweeps.trials_of(self.row))

    @field
    def created_at(self) -> str:
        return timestamp(self.row.created_at)

    @field
    def heartbeat_at(self) -> str:
        return timestamp(self.row.heartbeat_at)

    @field
    async def runs(
        self, after: str | None = None, first: int | None = None, order: str | None = None
    ) -> dict[str, Any]:
        trials = await self.context.deps.sweeps.trials_of(self.row)
        start = int(after) + 1 if after and after.isdecimal() else 0
        page = trials[start : start + (first or _PAGE)]
        nodes = await _runs(self.context, page)
        cursors = [str(start + at) for at in range(len(nodes))]
        return connection("Run", nodes, cursors, has_next=start + len(page) < len(trials))


async def _runs(context: RequestContext, trials: Sequence[TrialRow]) -> list[SweepRun]:
    """The runs of the trials that have started."""
    numbers = [trial.run_number for trial in trials if trial.run_number is not None]
    rows: Mapping[int, RunRow] = await context.deps.catalog.run_rows(numbers)
    return [SweepRun(context, rows[number]) for number in numbers if number in rows]


def known_agent(text: str) -> str:
    """An agent by its id or its name."""
    try:
        return decode_id("Agent", text)
    except Rejected:
        return text
