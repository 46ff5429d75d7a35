"""The gateway's routes, to be added to an aiohttp application that has `penstock_common.http`'s
middleware."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from penstock.wire import Limits
from penstock_common.auth import Authenticator
from penstock_common.bodies import BodyReader
from penstock_common.metrics import GatewayMetrics
from penstock_common.openapi import add_operations
from penstock_common.routes import Routes
from penstock_ingest.append import Appender
from penstock_ingest.batches import BatchHandler
from penstock_ingest.decoding import Decoding
from penstock_ingest.deletions import Deletions
from penstock_ingest.heartbeats import HeartbeatHandler
from penstock_ingest.operations import OPERATIONS
from penstock_ingest.pace import Pace
from penstock_ingest.positions import WriterPositions
from penstock_ingest.quota import Quota
from penstock_ingest.room import Room
from penstock_ingest.runs import RunHandler
from penstock_ingest.status import ServerStatus
from penstock_storage.interface import Catalog

__all__ = ["GatewayParts", "add_routes"]


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """What the gateway's handlers work with; built once per process."""

    authenticator: Authenticator
    appender: Appender
    positions: WriterPositions
    catalog: Catalog
    metrics: GatewayMetrics
    limits: Limits
    decoding: Decoding
    bodies: BodyReader
    status: ServerStatus
    pace: Pace
    quota: Quota
    deletions: Deletions
    room: Room


def add_routes(app: web.Application, parts: GatewayParts) -> None:
    """Add the write side: batches, runs, and where writers stand."""
    batches = BatchHandler(
        parts.authenticator,
        parts.appender,
        parts.positions,
        parts.bodies,
        parts.status,
        parts.pace,
        parts.quota,
        parts.deletions,
        parts.room,
        parts.metrics,
        parts.decoding,
    )
    heartbeats = HeartbeatHandler(
        parts.authenticator, parts.positions, parts.bodies, parts.status, parts.pace, parts.limits
    )
    runs = RunHandler(parts.authenticator, parts.catalog, parts.bodies, parts.metrics)
    routes = Routes(app)
    routes.post("/v1/batches", batches.post)
    routes.post("/v1/heartbeats", heartbeats.post)
    routes.get("/v1/writers/{entity}/{project}/{run}/{writer}", batches.writer)
    routes.post("/v1/runs", runs.post)
    add_operations(app, OPERATIONS)
