"""What stands between clients and a gateway: a door that can be shut, and a proxy that refuses on order."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

__all__ = ["Front", "running_front"]

_HOP_BY_HOP = {"transfer-encoding", "content-length", "connection", "host", "keep-alive"}


class Front:
    """A port of its own that leads to `target`. While it is shut, connections are refused.

    `answers`: what the next POSTs of batches get, one each: a status in place of the gateway's (413
    as a proxy words it, others as a gateway does), or None for the gateway's own.
    """

    def __init__(self, target: str, session: aiohttp.ClientSession) -> None:
        self.url = ""
        self.posts = 0
        self.answers: deque[int | None] = deque()
        self._target = target
        self._session = session
        self._port = 0
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def shut(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.method == "POST" and request.path == "/v1/batches":
            self.posts += 1
            status = self.answers.popleft() if self.answers else None
            if status is not None:
                if status == 413:
                    return web.Response(status=status, text="Request Entity Too Large")
                error = {"code": "as_ordered", "message": "as ordered", "hint": ""}
                return web.json_response({"error": error}, status=status)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        url = f"{self._target}{request.raw_path}"
        async with self._session.request(
            request.method, url, data=io.BytesIO(body), headers=headers
        ) as reply:
            kept = {k: v for k, v in reply.headers.items() if k.lower() not in _HOP_BY_HOP}
            return web.Response(status=reply.status, body=await reply.read(), headers=kept)


@asynccontextmanager
async def running_front(target: str) -> AsyncIterator[Front]:
    """An open front before the gateway at `target`."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        front = Front(target, session)
        await front.open()
        try:
            yield front
        finally:
            await front.shut()
