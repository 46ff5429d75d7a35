"""Something between the workers and the store that loses, delays or refuses inserts."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from support.stack import Stack

__all__ = ["LossyStore", "serving"]

_VIOLATED = (
    "Code: 469. DB::Exception: Constraint `decent` for table penstock.values is violated at row 1."
    " (VIOLATED_CONSTRAINT)"
)


class LossyStore:
    """In front of a store: of the inserts, every `every`th is lost, either before the store sees it or
    after it has answered. `delay_s` holds every insert up. One that holds the text `refused` is answered
    as ClickHouse does where a table's constraint is violated (the embedded store checks none)."""

    def __init__(
        self,
        stack: Stack,
        *,
        every: int = 0,
        after: bool = False,
        delay_s: float = 0.0,
        refused: bytes = b"",
    ) -> None:
        self._stack = stack
        self._every = every
        self._after = after
        self._delay_s = delay_s
        self._refused = refused
        self._inserts = 0
        self.lost = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        is_insert = request.query.get("query", "").startswith("INSERT")
        self._inserts += is_insert
        is_lost = is_insert and self._every > 0 and self._inserts % self._every == 0
        self.lost += is_lost
        if is_insert and self._refused and self._refused in body:
            return web.Response(
                status=500, text=_VIOLATED, headers={"X-ClickHouse-Exception-Code": "469"}
            )
        if is_insert:
            await asyncio.sleep(self._delay_s)
        if not is_lost:
            return await self._forward(request, body)
        if self._after:
            await self._forward(request, body)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        path = self._stack.store.url.removeprefix("unix://")
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session,
            session.request(
                request.method, "http://store/", params=request.query, data=io.BytesIO(body),
                headers={k: v for k, v in request.headers.items() if k.startswith("X-")},
            ) as reply,
        ):  # fmt: skip
            headers = {k: v for k, v in reply.headers.items() if k.startswith("X-")}
            return web.Response(body=await reply.read(), status=reply.status, headers=headers)


@asynccontextmanager
async def serving(lossy: LossyStore) -> AsyncIterator[str]:
    """Its URL."""
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/", lossy.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
