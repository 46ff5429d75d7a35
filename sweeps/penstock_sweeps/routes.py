"""The native sweeps API over HTTP, for Penstock's own client and others."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from aiohttp import web
from pydantic import BaseModel

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire import check_name
from penstock_common.http.auth import Authenticator, Principal
from penstock_common.http.checks import MAX_JSON_BYTES, checked_json, checked_query
from penstock_common.http.endpoints import add_endpoints
from penstock_common.http.errors import json_response
from penstock_common.http.openapi import Operation, operations_of
from penstock_common.http.payloads import as_json
from penstock_storage.contracts.sweep_rows import SweepCount, SweepRow, TrialAssignment, TrialRow
from penstock_sweeps import operations
from penstock_sweeps.configuration import prepare, read_configuration, stored_configuration
from penstock_sweeps.engine import SweepEngine, not_found

__all__ = ["SweepDependencies", "add_routes"]

ModelT = TypeVar("ModelT", bound=BaseModel)
DEFAULT_PROJECT = "uncategorized"
_INTERVAL_S = 5.0
_WAITING_S = 2.0


class Readers(Protocol):
    """Read access."""

    async def reader(self, request: web.Request, what: str) -> Principal:
        """The caller, if they may read the `{entity}` in the path; otherwise raises a 404 for
        `what`."""


class Bodies(Protocol):
    """Receives bodies."""

    def body(
        self, request: web.Request, max_bytes: int | None = None
    ) -> AbstractAsyncContextManager[bytes]:
        """The whole body, up to this size."""


@dataclass(frozen=True, slots=True)
class SweepDependencies:
    """The handlers' dependencies."""

    engine: SweepEngine
    authenticator: Authenticator
    readers: Readers
    bodies: Bodies


def add_routes(app: web.Application, deps: SweepDependencies) -> None:
    """Add the routes of sweeps, trials and agents."""
    handler = _Handler(deps)
    add_endpoints(
        app,
        operations_of(operations),
        {
            operations.CREATE_SWEEP: handler.create,
            operations.LIST_SWEEPS: handler.of_project,
            operations.GET_SWEEP: handler.sweep,
            operations.LIST_TRIALS: handler.trials,
            operations.CHANGE_SWEEP_STATE: handler.state,
            operations.REGISTER_AGENT: handler.add_agent,
            operations.SEND_AGENT_HEARTBEAT: handler.heartbeat,
        },
    )


class _Handler:
    def __init__(self, deps: SweepDependencies) -> None:
        self._engine = deps.engine
        self._deps = deps

    async def create(self, request: web.Request) -> web.Response:
        principal = await self._deps.authenticator.authenticate(request.headers)
        body = await self._body(request, operations.CREATE_SWEEP)
        config = body.config
        source = config if isinstance(config, str) else json.dumps(config)
        await prepare([source])
        own = read_configuration(source)
        entity = check_name("entity", body.entity or own.entity or principal.entity)
        if not principal.may_write(entity):
            raise _forbidden(entity)
        named = body.project or own.project or body.default_project or DEFAULT_PROJECT
        project = check_name("project", named)
        sweep, _ = await self._engine.create(entity, project, source, body.name or "")
        return json_response(_sweep_to_json(sweep, SweepCount()), 201)

    async def of_project(self, request: web.Request) -> web.Response:
        await self._deps.readers.reader(request, "project")
        names = request.match_info
        sweeps = await self._engine.of_project(names["entity"], names["project"])
        counts = await self._engine.counts(sweeps)
        return json_response(
            {"sweeps": [_sweep_to_json(each, counts[each.number]) for each in sweeps]}
        )

    async def sweep(self, request: web.Request) -> web.Response:
        await self._deps.readers.reader(request, "sweep")
        return json_response(await self._now(await self._find(request)))

    async def trials(self, request: web.Request) -> web.Response:
        await self._deps.readers.reader(request, "sweep")
        query = checked_query(request.query, operations.LIST_TRIALS)
        sweep = await self._find(request)
        found = await self._engine.trials(sweep, query.after, query.limit)
        return json_response({"trials": [_trial(each) for each in found]})

    async def state(self, request: web.Request) -> web.Response:
        sweep = await self._mine(request)
        body = await self._body(request, operations.CHANGE_SWEEP_STATE)
        return json_response(await self._now(await self._engine.change(sweep, state=body.state)))

    async def add_agent(self, request: web.Request) -> web.Response:
        sweep = await self._mine(request)
        body = await self._body(request, operations.REGISTER_AGENT)
        agent = await self._engine.add_agent(sweep, body.host)
        return json_response({"agent": agent.agent, "sweep": await self._now(sweep)}, 201)

    async def heartbeat(self, request: web.Request) -> web.Response:
        await self._writer(request)
        body = await self._body(request, operations.SEND_AGENT_HEARTBEAT)
        agent, sweep = await self._engine.agent(request.match_info["agent"])
        names = tuple(request.match_info[name] for name in ("entity", "project", "sweep"))
        if names != (sweep.entity, sweep.project, sweep.sweep):
            raise not_found("agent")
        handed = await self._engine.heartbeat(
            agent, sweep, alive=body.alive, ended=body.ended, wants=body.wants
        )
        return json_response(_answer(handed))

    async def _mine(self, request: web.Request) -> SweepRow:
        """The sweep in the path, for a caller who may change it."""
        await self._writer(request)
        return await self._find(request)

    async def _writer(self, request: web.Request) -> None:
        """Raises `Rejected` if the caller may not write to the entity in the path."""
        principal = await self._deps.authenticator.authenticate(request.headers)
        entity = request.match_info["entity"]
        if not principal.may_write(entity):
            raise _forbidden(entity) if principal.may_read(entity) else not_found()

    async def _find(self, request: web.Request) -> SweepRow:
        names = (request.match_info[name] for name in ("entity", "project", "sweep"))
        return await self._engine.find(*names)

    async def _now(self, sweep: SweepRow) -> dict[str, Any]:
        counts = await self._engine.counts([sweep])
        fresh = await self._engine.find(sweep.entity, sweep.project, sweep.sweep)
        return _sweep_to_json(fresh, counts[sweep.number])

    async def _body(self, request: web.Request, operation: Operation[Any, ModelT]) -> ModelT:
        async with self._deps.bodies.body(request, MAX_JSON_BYTES) as body:
            return checked_json(body, operation)


def _forbidden(entity: str) -> Rejected:
    return Rejected(f"this key may not write to {entity!r}", code=ErrorCode.FORBIDDEN)


def _sweep_to_json(sweep: SweepRow, count: SweepCount) -> dict[str, Any]:
    configuration = stored_configuration(sweep.source)
    return {
        "entity": sweep.entity,
        "project": sweep.project,
        "sweep": sweep.sweep,
        "name": sweep.name,
        "state": sweep.state,
        "method": configuration.method,
        "config": sweep.source,
        "program": configuration.program,
        "command": list(configuration.command),
        "metric": configuration.metric,
        "goal": configuration.goal,
        "run_cap": configuration.cap,
        "runs": count.runs,
        "open": count.open,
        "best": count.best,
        "best_run": count.best_run,
        "created_at": sweep.created_at / 1e6,
        "updated_at": sweep.updated_at / 1e6,
        "heartbeat_at": sweep.heartbeat_at / 1e6 or None,
        "warnings": list(configuration.warnings),
    }


def _trial(trial: TrialRow) -> dict[str, Any]:
    return {
        "index": trial.index,
        "run": trial.run,
        "state": trial.state,
        "run_state": trial.run_state,
        "handed": trial.handed,
        "stop": trial.stop,
        "parameters": as_json(trial.parameters),
        "value": trial.value,
    }


def _answer(handed: TrialAssignment) -> dict[str, Any]:
    trial = handed.trial
    given = None
    if trial is not None:
        parameters = as_json(trial.parameters)
        given = {"run": trial.run, "index": trial.index, "parameters": parameters}
    return {
        "state": handed.state,
        "trial": given,
        "stop": list(handed.stops),
        "exit": handed.exit,
        "interval_s": _INTERVAL_S if trial is not None else _WAITING_S,
    }
