"""`POST /graphql`, loaded with the first request: it takes a third of a second to import and 6 MiB, and many
servers are never asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from penstock_compat.wandb.dependencies import WandbDependencies
from penstock_compat.wandb.metrics import WandbMetrics

if TYPE_CHECKING:
    from penstock_compat.wandb.endpoint import GraphqlEndpoint

__all__ = ["LazyEndpoint"]


class LazyEndpoint:
    """A `GraphqlEndpoint` that is loaded when it is first asked."""

    def __init__(self, deps: WandbDependencies, metrics: WandbMetrics) -> None:
        self._deps = deps
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._endpoint: GraphqlEndpoint | None = None

    async def post(self, request: web.Request) -> web.Response:
        return await (self._endpoint or await self._loaded()).post(request)

    async def _loaded(self) -> GraphqlEndpoint:
        async with self._lock:
            if self._endpoint is None:
                # In a thread: the other requests go on meanwhile.
                self._endpoint = await asyncio.to_thread(self._load)
        return self._endpoint

    def _load(self) -> GraphqlEndpoint:
        from penstock_compat.wandb.endpoint import GraphqlEndpoint  # noqa: PLC0415

        return GraphqlEndpoint(self._deps, self._metrics)
