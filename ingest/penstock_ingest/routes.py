"""The routes of the write side, for an aiohttp application with `penstock_common.http.errors`'s middleware."""

from __future__ import annotations

from aiohttp import web

from penstock_common.http.openapi import add_operations
from penstock_common.http.routes import Routes
from penstock_ingest.batches import BatchHandler
from penstock_ingest.dependencies import IngestDependencies
from penstock_ingest.heartbeats import HeartbeatHandler
from penstock_ingest.operations import OPERATIONS
from penstock_ingest.runs import RunHandler

__all__ = ["add_routes"]


def add_routes(app: web.Application, deps: IngestDependencies) -> None:
    """Add the write side: batches, runs, and writers' positions."""
    batches = BatchHandler(
        deps.authenticator,
        deps.appender,
        deps.positions,
        deps.bodies,
        deps.status,
        deps.pace,
        deps.quota,
        deps.deletions,
        deps.bound_check,
        deps.metrics,
        deps.decoding,
    )
    heartbeats = HeartbeatHandler(
        deps.authenticator, deps.positions, deps.bodies, deps.status, deps.pace, deps.limits
    )
    runs = RunHandler(deps.authenticator, deps.catalog, deps.bodies, deps.metrics)
    routes = Routes(app)
    routes.post("/v1/batches", batches.post)
    routes.post("/v1/heartbeats", heartbeats.post)
    routes.get("/v1/writers/{entity}/{project}/{run}/{writer}", batches.writer)
    routes.post("/v1/runs", runs.post)
    add_operations(app, OPERATIONS)
