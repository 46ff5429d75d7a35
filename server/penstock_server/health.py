"""`/healthz`, `/readyz` and `/metrics`, for Kubernetes, load balancers and Prometheus.

Liveness depends on nothing else: an outage of Redis must not restart every gateway.
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from penstock_common.http.errors import json_response
from penstock_common.http.exporter import CONTENT_TYPE, gather, live_response
from penstock_common.http.routes import Routes
from penstock_common.process.metrics import GatewayMetrics
from penstock_common.process.watchdog import Watchdog
from penstock_ingest.status import ServerStatus
from penstock_server.inspection import Inspector

__all__ = ["Health"]


class Health:
    """Answers for one gateway process."""

    def __init__(
        self,
        inspector: Inspector,
        status: ServerStatus,
        metrics: GatewayMetrics,
        watchdog: Watchdog,
        peers: str,
        *,
        takes_batches: bool = True,
    ) -> None:
        self._inspector = inspector
        self._status = status
        self._metrics = metrics
        self._watchdog = watchdog
        self._peers = peers
        self._takes_batches = takes_batches

    def add_routes(self, app: web.Application) -> None:
        routes = Routes(app)
        routes.get("/healthz", self.healthz)
        routes.get("/readyz", self.readyz)
        routes.get("/metrics", self.metrics)

    async def healthz(self, _: web.Request) -> web.Response:
        """200 while the event loop and all background tasks of this process are running."""
        return live_response(self._watchdog.problem)

    async def readyz(self, _: web.Request) -> web.Response:
        """200 if requests belong here, otherwise 503; with all problems in either case. See `Inspector`."""
        now = await self._inspector.look()
        body: dict[str, object] = {
            "queue": now.queue,
            "store": now.store,
            "catalog": now.catalog,
            "workers": now.workers,
            "draining": self._status.is_draining,
            "problems": [each.redacted().to_json() for each in now.problems],
            "parts": list(now.parts),
        }
        if self._takes_batches:
            body["queue_problem"] = self._status.queue_problem
            body["volatile_queue"] = self._status.volatile_queue
        return json_response(body, status=200 if now.is_ready else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        """This process's metrics, or those of all processes of this machine's `penstock up`."""
        text = await gather(Path(self._peers)) if self._peers else self._metrics.render()
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})
