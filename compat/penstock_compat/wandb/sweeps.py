"""Sweeps for wandb clients: creating, changing and reading them, and answering agents' heartbeats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire import check_name
from penstock_compat.wandb.graphql.nodes import Node, connection, field
from penstock_compat.wandb.ids import decode_id
from penstock_compat.wandb.prior_runs import add_prior_runs
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.runs.mutations import DEFAULT_PROJECT
from penstock_compat.wandb.sweep_nodes import AgentNode, SweepNode, known_agent
from penstock_compat.wandb.values import json_text, loads_map
from penstock_storage.contracts.interface import ProjectRow
from penstock_storage.contracts.sweep_rows import SweepRow, TrialAssignment
from penstock_sweeps.configuration import (
    SweepConfiguration,
    prepare,
    read_configuration,
    stored_configuration,
)
from penstock_sweeps.engine import not_found

__all__ = ["SweepMutations", "SweepsOfProject"]


class SweepsOfProject(Node):
    """A project's sweeps."""

    context: RequestContext
    row: ProjectRow

    @field
    async def sweep(self, sweep_name: str) -> SweepNode | None:
        engine = self.context.deps.sweeps
        try:
            row = await engine.find(self.row.entity, self.row.project, sweep_name)
        except Rejected as error:
            if error.status == 404:
                return None
            raise
        counts = await engine.counts([row])
        # New results may have ended it meanwhile.
        row = await engine.find(self.row.entity, self.row.project, sweep_name)
        return SweepNode(self.context, row, counts[row.number])

    @field
    async def sweeps(self, after: str | None = None, first: int | None = None) -> dict[str, Any]:
        engine = self.context.deps.sweeps
        rows = await engine.of_project(self.row.entity, self.row.project)
        start = int(after) + 1 if after and after.isdecimal() else 0
        page = rows[start : start + (first or 50)]
        counts = await engine.counts(page)
        return connection(
            "Sweep",
            [SweepNode(self.context, row, counts[row.number]) for row in page],
            [str(start + at) for at in range(len(page))],
            has_next=start + len(page) < len(rows),
        )

    @field
    async def total_sweeps(self) -> int:
        rows = await self.context.deps.sweeps.of_project(self.row.entity, self.row.project)
        return len(rows)


class SweepMutations(Node):
    """Root fields for sweeps and agents."""

    context: RequestContext

    @field
    async def upsert_sweep(self, input: dict[str, Any]) -> dict[str, Any]:
        """Create a sweep; with `id`, change its state or configuration."""
        engine = self.context.deps.sweeps
        if input.get("id"):
            row = await self._own(input["id"])
            if isinstance(input.get("config"), str):
                await prepare([input["config"]])
            row = await engine.change(
                row,
                state=input.get("state"),
                source=input.get("config"),
                name=_new_name(row, input),
            )
        else:
            row = await self._create(input)
        warnings = _warnings(row, input)
        if input.get("priorRunsFilters"):
            warnings += await add_prior_runs(self.context, row, str(input["priorRunsFilters"]))
        counts = await engine.counts([row])
        return {
            "__typename": "UpsertSweepPayload",
            "sweep": SweepNode(self.context, row, counts[row.number]),
            "configValidationWarnings": warnings,
        }

    @field
    async def create_agent(self, input: dict[str, Any]) -> dict[str, Any]:
        entity = self.context.entity(input.get("entityName"))
        project = check_name("project", input.get("projectName") or DEFAULT_PROJECT)
        engine = self.context.deps.sweeps
        sweep = await engine.find(entity, project, str(input.get("sweep")))
        agent = await engine.add_agent(sweep, str(input.get("host") or ""))
        return {
            "__typename": "CreateAgentPayload",
            "agent": AgentNode(self.context, agent, sweep),
        }

    @field
    async def agent_heartbeat(self, input: dict[str, Any]) -> dict[str, Any]:
        """Process the agent's running runs; returns `commands`, a JSON list in a string."""
        engine = self.context.deps.sweeps
        agent, sweep = await engine.agent(known_agent(str(input.get("id") or "")))
        if not self.context.principal.may_write(sweep.entity):
            raise not_found("agent")
        states = loads_map("runState", input.get("runState") or "{}")
        alive = [run for run, is_alive in states.items() if is_alive]
        handed = await engine.heartbeat(agent, sweep, alive=alive)
        return {
            "__typename": "AgentHeartbeatPayload",
            "agent": AgentNode(self.context, agent, sweep),
            "commands": json_text(_commands(handed, read_configuration(sweep.source))),
        }

    async def _create(self, input: dict[str, Any]) -> SweepRow:
        source = input.get("config")
        if not isinstance(source, str):
            raise Rejected("a new sweep needs a `config`", code=ErrorCode.BAD_SWEEP)
        if "local" in str(input.get("controller") or ""):
            raise Rejected(
                "local controllers are not supported: the server runs the search",
                code=ErrorCode.BAD_SWEEP,
            )
        await prepare([source])
        own = read_configuration(source)
        entity = self.context.entity(input.get("entityName") or own.entity or None)
        project = input.get("projectName") or own.project or DEFAULT_PROJECT
        row, _ = await self.context.deps.sweeps.create(
            entity, check_name("project", project), source, input.get("displayName") or ""
        )
        return row

    async def _own(self, id: str) -> SweepRow:
        row = await self.context.deps.sweeps.by_number(int(decode_id("Sweep", id)))
        if not self.context.principal.may_write(row.entity):
            raise not_found()
        return row


def _new_name(row: SweepRow, input: Mapping[str, Any]) -> str | None:
    """An updated sweep's name: the requested one, or else the new configuration's if it had the old
    configuration's."""
    if input.get("displayName") is not None or not isinstance(input.get("config"), str):
        return input.get("displayName")
    is_own = row.name not in ("", stored_configuration(row.source).name)
    return None if is_own else stored_configuration(input["config"]).name


def _warnings(row: SweepRow, input: Mapping[str, Any]) -> list[str]:
    found = list(stored_configuration(row.source).warnings)
    found += (
        f"{name!r} has no effect in Penstock"
        for name in ("scheduler", "launchScheduler")
        if input.get(name)
    )
    return found


def _commands(handed: TrialAssignment, configuration: SweepConfiguration) -> list[dict[str, Any]]:
    commands: list[dict[str, Any]] = [{"type": "stop", "run_id": run} for run in handed.stops]
    if handed.trial is not None:
        args = {name: {"value": value} for name, value in handed.trial.parameters.items()}
        commands.append(
            {
                "type": "run",
                "run_id": handed.trial.run,
                "run_name": None,
                "program": configuration.program,
                "args": args,
                "logs": [],
            }
        )
    if handed.exit:
        commands.append({"type": "exit", "logs": []})
    return commands
