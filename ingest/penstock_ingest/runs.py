"""`POST /v1/runs`: make a run before its first batch, or learn of one that exists."""

from __future__ import annotations

import time
from typing import Any

import orjson
from aiohttp import web

from penstock.errors import Rejected
from penstock.wire import check_name
from penstock_common.auth import Authenticator
from penstock_common.http import json_response
from penstock_common.metrics import GatewayMetrics
from penstock_ingest.body import BodyReader
from penstock_ingest.names import new_run_id
from penstock_storage.interface import Catalog, RunChange, RunRef, RunRow

__all__ = ["RunHandler"]

_TEXT_FIELDS = ("name", "group", "job_type", "notes")
_FIELDS = frozenset({"entity", "project", "run", "tags", "config", *_TEXT_FIELDS})


class RunHandler:
    """Creates runs in the catalog; the point store hears of them with their first batch."""

    def __init__(
        self,
        authenticator: Authenticator,
        catalog: Catalog,
        bodies: BodyReader,
        metrics: GatewayMetrics,
    ) -> None:
        self._authenticator = authenticator
        self._catalog = catalog
        self._bodies = bodies
        self._metrics = metrics

    async def post(self, request: web.Request) -> web.Response:
        """201 with the new run, 200 with the one that existed."""
        principal = await self._authenticator.authenticate(request.headers)
        fields = _parse(await self._bodies.read(request))
        entity = check_name("entity", fields.get("entity", principal.entity))
        if not principal.may_write(entity):
            raise Rejected(f"this key may not write to {entity!r}", code="forbidden", status=403)
        ref = RunRef(
            entity,
            check_name("project", fields.get("project")),
            check_name("run", fields.get("run", new_run_id())),
        )
        existed = await self._catalog.run(ref) is not None
        run = (await self._catalog.ensure_runs([ref]))[ref]
        changes = _changes(run.number, fields)
        if changes:
            await self._catalog.apply_changes(changes, time.time_ns() // 1000)
            run = await self._catalog.run(ref) or run
        return json_response(_shown(run), status=200 if existed else 201)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"the body is not valid JSON: {error}", code="bad_json") from None
    if not isinstance(fields, dict) or set(fields) - _FIELDS:
        raise _bad(f"the body must be an object with fields out of {sorted(_FIELDS)}")
    for name in _TEXT_FIELDS:
        if not isinstance(fields.get(name, ""), str):
            raise _bad(f"{name} must be a string")
    tags = fields.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise _bad("tags must be a list of strings")
    if not isinstance(fields.get("config", {}), dict):
        raise _bad("config must be an object")
    return fields


def _bad(message: str) -> Rejected:
    return Rejected(message, code="bad_run", hint="docs/api.md shows the fields.")


def _changes(number: int, fields: dict[str, Any]) -> list[RunChange]:
    started = time.time_ns() // 1000
    about = {name: fields[name] for name in (*_TEXT_FIELDS, "tags") if name in fields}
    updates = [("run", about), ("config", fields.get("config", {}))]
    return [
        RunChange(number, started, 0, index, kind, update)
        for index, (kind, update) in enumerate(updates)
        if update
    ]


def _shown(run: RunRow) -> dict[str, Any]:
    return {
        "entity": run.entity,
        "project": run.project,
        "run": run.run,
        "name": run.name,
        "state": run.state,
        "group": run.group,
        "job_type": run.job_type,
        "tags": list(run.tags),
        "notes": run.notes,
        "config": run.config,
        "summary": run.summary,
        "info": run.info,
        "created_at": run.created_at / 1e6,
        "updated_at": run.updated_at / 1e6,
        "last_step": None,
    }
