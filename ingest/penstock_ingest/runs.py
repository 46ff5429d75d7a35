"""`POST /v1/runs`: create a run before its first batch, or get an existing one."""

from __future__ import annotations

from aiohttp import web

from penstock.ids import new_run_id
from penstock.wire import check_name
from penstock.wire.run_fields import PLAIN_FIELDS
from penstock_common.http.auth import Authenticator
from penstock_common.http.bodies import BodyReader
from penstock_common.http.checks import MAX_JSON_BYTES, checked_json
from penstock_common.http.errors import json_response
from penstock_common.http.serialize import run_fields_to_json
from penstock_common.process.metrics import GatewayMetrics
from penstock_ingest.access import checked_entity
from penstock_ingest.creations import Creations
from penstock_ingest.operations import CREATE_RUN, NewRun
from penstock_storage.contracts.catalog import RunCatalog
from penstock_storage.contracts.interface import RunChange, RunRef

__all__ = ["RunHandler"]


class RunHandler:
    """Creates runs in the catalog; the point store gets them with their first batch."""

    def __init__(
        self,
        authenticator: Authenticator,
        catalog: RunCatalog,
        bodies: BodyReader,
        metrics: GatewayMetrics,
    ) -> None:
        self._authenticator = authenticator
        self._creations = Creations(catalog)
        self._bodies = bodies
        self._metrics = metrics

    async def post(self, request: web.Request) -> web.Response:
        """201 with the new run, 200 with an existing one."""
        principal = await self._authenticator.authenticate(request.headers)
        async with self._bodies.body(request, MAX_JSON_BYTES) as body:
            asked = checked_json(body, CREATE_RUN)
        ref = RunRef(
            checked_entity(asked.entity, principal),
            check_name("project", asked.project),
            check_name("run", new_run_id() if asked.run is None else asked.run),
        )
        made = await self._creations.make(ref, lambda number: _changes(number, asked))
        run = made.run
        shown = run_fields_to_json(run, config=run.config, summary=run.summary)
        return json_response(shown, status=200 if made.existed else 201)


def _changes(number: int, asked: NewRun) -> list[RunChange]:
    about = asked.model_dump(include=PLAIN_FIELDS.keys(), exclude_none=True)
    return [
        RunChange.edit(number, kind, update)
        for kind, update in (("run", about), ("config", asked.config))
        if update
    ]
