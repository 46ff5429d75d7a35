"""`PATCH` and `DELETE` of runs and projects, for callers with write access."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire import check_name
from penstock.wire.run_fields import PLAIN_FIELDS
from penstock_common.http.errors import json_response
from penstock_common.http.payloads import encode_json
from penstock_common.queue.news import publish
from penstock_storage.contracts.interface import RunChange, RunRef, RunRow
from penstock_storage.removal import Removal
from penstock_web.access import Access
from penstock_web.dependencies import WebDependencies
from penstock_web.models.edits import DELETE_RUNS, EDIT_RUN
from penstock_web.names import Names
from penstock_web.requests import body_of
from penstock_web.runs import RunsHandler
from penstock_web.serialize import run_to_json

__all__ = ["EditHandler"]

_MOVE_WAIT_S = 20.0
_LOOK_S = 0.1


class EditHandler:
    """Edits, moves and deletes runs."""

    def __init__(
        self, deps: WebDependencies, access: Access, names: Names, runs: RunsHandler
    ) -> None:
        self._catalog = deps.catalog
        self._redis = deps.redis
        self._keys = deps.keys
        self._removal = Removal(deps.catalog, deps.redis, deps.keys)
        self._access = access
        self._names = names
        self._runs = runs

    async def change(self, request: web.Request) -> web.Response:
        """`PATCH /v1/runs/{entity}/{project}/{run}`"""
        await self._access.writer(request)
        row = await self._runs.found(request)
        body = await body_of(request, EDIT_RUN)
        update = body.model_dump(include=PLAIN_FIELDS.keys(), exclude_none=True)
        now = time.time_ns() // 1000
        if update:
            await self._catalog.apply_changes([RunChange.edit(row.number, "run", update)], now)
            await publish(self._redis, self._keys, changed=[(row.entity, row.project, row.run)])
        if body.project is not None and body.project != row.project:
            return await self._move(row, check_name("project", body.project), now)
        return _run_response(await self._runs.found(request), 200)

    async def delete_run(self, request: web.Request) -> web.Response:
        """`DELETE /v1/runs/{entity}/{project}/{run}`"""
        await self._access.writer(request)
        row = await self._runs.found(request)
        await self._removal.delete_runs([row.number])
        self._names.forget([RunRef(row.entity, row.project, row.run)])
        return json_response({"deleted": 1})

    async def delete_runs(self, request: web.Request) -> web.Response:
        """`POST /v1/projects/{entity}/{project}/runs/delete`"""
        await self._access.writer(request)
        project = await self._runs.project(request)
        body = await body_of(request, DELETE_RUNS)
        numbers = await self._catalog.run_numbers(project, body.runs)
        gone = await self._removal.delete_runs(sorted(numbers.values()))
        self._names.forget([each.ref for each in gone])
        return json_response({"deleted": len(gone)})

    async def delete_project(self, request: web.Request) -> web.Response:
        """`DELETE /v1/projects/{entity}/{project}`"""
        await self._access.writer(request)
        project = await self._runs.project(request)
        gone = await self._removal.delete_project(project)
        self._names.forget([each.ref for each in gone])
        names = request.match_info
        self._names.forget_project(names["entity"], names["project"])
        return json_response({"deleted": len(gone)})

    async def _move(self, row: RunRow, project: str, now: int) -> web.Response:
        """Move a run: 200 with the run in its new place, 202 if that takes too long to wait for."""
        move = await self._catalog.begin_move(row.number, project, now)
        deadline = time.monotonic() + _MOVE_WAIT_S
        while time.monotonic() < deadline:
            moved = (await self._catalog.run_rows([move.copy])).get(move.copy)
            if moved is not None:
                self._names.forget([RunRef(row.entity, row.project, row.run)])
                return _run_response(moved, 200)
            if await self._catalog.tombstones_by_run([move.copy]):
                raise Rejected("the run was not moved", code=ErrorCode.NOT_MOVED)
            await asyncio.sleep(_LOOK_S)
        return _run_response(row, 202)


def _run_response(row: RunRow, status: int) -> web.Response:
    body = encode_json(run_to_json(row, None))
    return web.Response(body=body, status=status, content_type="application/json")
