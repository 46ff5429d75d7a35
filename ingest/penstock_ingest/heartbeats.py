"""`POST /v1/heartbeats`: which runs are alive, and the positions of all writers of a host, in one request."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from penstock.wire import Limits, check_name
from penstock_common.http.auth import Authenticator, Principal
from penstock_common.http.bodies import BodyReader
from penstock_common.http.checks import MAX_JSON_BYTES, checked_json
from penstock_common.http.errors import json_response
from penstock_ingest.access import checked_entity
from penstock_ingest.operations import SEND_HEARTBEATS, Heartbeat
from penstock_ingest.pace import Pace
from penstock_ingest.positions import WriterName, WriterPositions
from penstock_ingest.status import ServerStatus

__all__ = ["HeartbeatHandler"]


class HeartbeatHandler:
    """The clients' request between batches. It is answered even while batches are refused: a full queue
    must not make live runs look dead, or keep spools from being released."""

    def __init__(
        self,
        authenticator: Authenticator,
        positions: WriterPositions,
        bodies: BodyReader,
        status: ServerStatus,
        pace: Pace,
        limits: Limits,
    ) -> None:
        self._authenticator = authenticator
        self._positions = positions
        self._bodies = bodies
        self._status = status
        self._pace = pace
        self._limits = limits

    async def post(self, request: web.Request) -> web.Response:
        """200 with a position for each writer, in the order asked."""
        principal = await self._authenticator.authenticate(request.headers)
        async with self._bodies.body(request, MAX_JSON_BYTES) as body:
            asked = checked_json(body, SEND_HEARTBEATS).writers
        names = [self._name(each, principal) for each in asked]
        alive = [name for name, each in zip(names, asked, strict=True) if each.alive]
        positions = await self._positions.fetch(names, alive)
        payload: dict[str, Any] = {
            "store": self._status.store,
            "interval_s": self._pace.interval_s,
            "commands": [],
            "marks": positions,
        }
        return json_response(payload)

    def _name(self, asked: Heartbeat, principal: Principal) -> WriterName:
        return WriterName(
            checked_entity(asked.entity, principal, self._limits),
            check_name("project", asked.project, self._limits),
            check_name("run", asked.run, self._limits),
            check_name("writer", asked.writer, self._limits),
        )
