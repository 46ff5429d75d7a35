"""A gateway's port while the gateway starts: alive, not ready, and then the gateway's own."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
from aiohttp import web

from penstock_common.process.watchdog import Watchdog
from penstock_server.entrance import Entrance


async def asked(port: int, path: str) -> tuple[int, str]:
    """Status and text of a reply; the first connection of its session."""
    url = f"http://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        if reply.status == 503 and not path.endswith("/healthz"):
            assert int(reply.headers["Retry-After"]) >= 1
        return reply.status, await reply.text()


async def test_a_gateway_that_starts_is_alive_and_takes_nothing() -> None:
    watchdog, listener = Watchdog(), socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    entrance = Entrance(watchdog)
    server = await asyncio.get_running_loop().create_server(entrance, sock=listener)

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="the gateway")

    try:
        assert (await asked(port, "/healthz"))[0] == 200
        assert (await asked(port, "/penstock/healthz"))[0] == 200
        for path in ("/readyz", "/v1/batches", "/"):
            status, text = await asked(port, path)
            assert status == 503
            assert "starting" in text
        gateway = web.Server(answer)
        await entrance.lead_to(gateway)
        assert await asked(port, "/readyz") == (200, "the gateway")
        await gateway.shutdown(1)
    finally:
        server.close()


async def test_a_gateway_that_hangs_while_it_starts_is_not_alive() -> None:
    watchdog, listener = Watchdog(), socket.create_server(("127.0.0.1", 0))
    entrance = Entrance(watchdog)
    server = await asyncio.get_running_loop().create_server(entrance, sock=listener)
    watchdog.part("main")
    watchdog.check(1e6)
    try:
        status, text = await asked(listener.getsockname()[1], "/healthz")
        assert status == 503
        assert "main hung" in text
    finally:
        server.close()
