"""The routes of the wandb API, for an aiohttp application with `penstock_common.http.errors`'s middleware."""

from __future__ import annotations

from aiohttp import web

from penstock_common.http.endpoints import add_operations
from penstock_common.http.routes import Routes
from penstock_compat.wandb.artifacts.routes import add_artifact_routes
from penstock_compat.wandb.dependencies import WandbDependencies
from penstock_compat.wandb.files import FILE_PATH
from penstock_compat.wandb.lazy_endpoint import LazyEndpoint
from penstock_compat.wandb.metrics import WandbMetrics
from penstock_compat.wandb.operations import OPERATIONS
from penstock_compat.wandb.stream.handler import STREAM_PATH, StreamHandler
from penstock_compat.wandb.transfers import Transfers

__all__ = ["add_routes"]


def add_routes(app: web.Application, deps: WandbDependencies, metrics: WandbMetrics) -> None:
    """Add all paths that a client uses below its `WANDB_BASE_URL`."""
    stream = StreamHandler(deps, metrics)
    app.cleanup_ctx.append(stream.running)
    routes = Routes(app)
    routes.post("/graphql", LazyEndpoint(deps, metrics).post)
    routes.post(STREAM_PATH, stream.post)
    transfers = Transfers(deps)
    routes.put(FILE_PATH, transfers.put, signed=True)
    routes.get(FILE_PATH, transfers.get)
    routes.options(FILE_PATH, transfers.options)
    add_artifact_routes(app, deps)
    add_operations(app, OPERATIONS)
