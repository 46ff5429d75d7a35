"""The routes of the write side, for an aiohttp application with `penstock_common.http.errors`'s middleware."""

from __future__ import annotations

from aiohttp import web

from penstock_common.http.endpoints import add_endpoints
from penstock_common.http.openapi import operations_of
from penstock_ingest import operations
from penstock_ingest.batches import BatchHandler
from penstock_ingest.dependencies import IngestDependencies
from penstock_ingest.heartbeats import HeartbeatHandler
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
    add_endpoints(
        app,
        operations_of(operations),
        {
            operations.QUEUE_BATCHES: batches.post,
            operations.SEND_HEARTBEATS: heartbeats.post,
            operations.GET_WRITER: batches.writer,
            operations.CREATE_RUN: runs.post,
        },
    )
