"""What listens on a gateway's port from its first moment: a process that waits for its database is alive,
and says so, but takes no requests yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Transient
from penstock_common.http.errors import error_response
from penstock_common.http.exporter import live_response
from penstock_common.process.watchdog import Watchdog

__all__ = ["Entrance"]

_KEEPALIVE_S = 5.0


class Entrance:
    """Makes the protocol of each new connection: what `loop.create_server` calls.

    Until `lead_to` is called, `/healthz` answers as the watchdog sees it, and everything else gets a 503.
    """

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._waiting = web.Server(self._answer, access_log=None, keepalive_timeout=_KEEPALIVE_S)
        self._make: Callable[[], asyncio.BaseProtocol] = self._waiting

    def __call__(self) -> asyncio.BaseProtocol:
        return self._make()

    async def lead_to(self, make: Callable[[], asyncio.BaseProtocol]) -> None:
        """Let this make the protocols of new connections; those made before end with their reply."""
        self._make = make
        await self._waiting.shutdown(1.0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/healthz"):  # also below a root path
            response = live_response(self._watchdog.problem)
        else:
            starting = Transient(
                "this server is starting", code=ErrorCode.UNAVAILABLE, retry_after_s=1.0
            )
            response = error_response(starting)
        response.force_close()
        return response
