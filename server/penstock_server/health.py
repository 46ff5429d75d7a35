"""`/healthz`, `/readyz`, `/metrics`: what Kubernetes, load balancers and Prometheus ask.

Liveness asks nobody else: an outage of Redis must not restart every gateway.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock.errors import PenstockError
from penstock_common.exporter import CONTENT_TYPE, gather
from penstock_common.http import json_response
from penstock_common.keys import Keys
from penstock_common.metrics import GatewayMetrics
from penstock_ingest.status import ServerStatus
from penstock_storage.interface import Catalog, PointStore

__all__ = ["Health"]

_TIMEOUT_S = 2.0
_WORKER_SILENT_S = 15.0


class Health:
    """Answers for one gateway process."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        points: PointStore,
        catalog: Catalog,
        status: ServerStatus,
        metrics: GatewayMetrics,
        peers: str,
        *,
        takes_batches: bool = True,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._points = points
        self._catalog = catalog
        self._status = status
        self._metrics = metrics
        self._peers = peers
        self._takes_batches = takes_batches

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/readyz", self.readyz)
        app.router.add_get("/metrics", self.metrics)

    async def healthz(self, _: web.Request) -> web.Response:
        """200 while the event loop turns."""
        return json_response({"status": "ok"})

    async def readyz(self, _: web.Request) -> web.Response:
        """200 if queue, store and catalog answer, the queue keeps what it is given, and this process
        is not draining; else 503."""
        checks = {"queue": self._queue, "store": self._points.store_id, "catalog": self._catalog_ok}
        answers = await asyncio.gather(*(_answers(check) for check in checks.values()))
        body: dict[str, object] = dict(zip(checks, answers, strict=True))
        body["workers"] = await self._workers() if body["queue"] else 0
        body["draining"] = self._status.is_draining
        is_ready = all(answers) and not self._status.is_draining
        if self._takes_batches:
            body["queue_problem"] = self._status.queue_problem
            body["volatile_queue"] = self._status.volatile_queue
            is_ready = is_ready and self._status.is_queue_safe
        return json_response(body, status=200 if is_ready else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        """This process' metrics, or those of all processes of this machine's `penstock up`."""
        text = await gather(Path(self._peers)) if self._peers else self._metrics.render()
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def _queue(self) -> None:
        await self._redis.get(self._keys.store())

    async def _catalog_ok(self) -> None:
        await self._catalog.api_key("")

    async def _workers(self) -> int:
        oldest = time.time() - _WORKER_SILENT_S
        return int(await self._redis.zcount(self._keys.workers(), oldest, "+inf"))


async def _answers(check: Callable[[], Awaitable[object]]) -> bool:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await check()
    except (PenstockError, RedisError, OSError, TimeoutError):
        return False
    return True
