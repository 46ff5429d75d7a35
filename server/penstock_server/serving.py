"""How a gateway starts to listen, and how it leaves without breaking off a request."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from penstock.errors import Broken
from penstock_common.http.errors import OPEN_REQUESTS
from penstock_common.process.lifecycle import raise_file_limit, spare_collector
from penstock_common.process.metrics import GatewayMetrics
from penstock_common.process.settings import GatewaySettings
from penstock_common.process.watchdog import Watchdog
from penstock_server.connection_limits import ConnectionLimiter
from penstock_server.entrance import Entrance

__all__ = ["BACKLOG", "serve"]

BACKLOG = 4096
_KEEPALIVE_S = 75.0
_OTHER_FILES = 256
_CUT_S = 1.0
"""How long connections have to close after the requests that were waited for."""
_LOG = logging.getLogger(__name__)


async def serve(
    building: AbstractAsyncContextManager[tuple[web.Application, GatewayMetrics]],
    settings: GatewaySettings,
    listener: socket.socket,
    stop: asyncio.Event,
    watchdog: Watchdog,
    *,
    is_shared: bool = False,
) -> None:
    """Serve the application on this socket until `stop` is set, then finish open requests.

    It listens at once, see `Entrance`, unless other processes accept from the same socket: what it would
    answer with 503 while it starts, one of them could take.

    The shutdown order: report not ready but keep serving for `pre_stop_s`, until load balancers have noticed;
    close the listener; give open requests `drain_s` to end.
    """
    entrance = Entrance(watchdog)
    early = None if is_shared else await _listen(entrance, listener)
    async with building as (app, metrics):
        runner = web.AppRunner(app, shutdown_timeout=settings.drain_s, handler_cancellation=True)
        await runner.setup()
        server = runner.server
        if server is None:
            raise Broken("the runner has no server after its setup")
        limiter = ConnectionLimiter(
            server,
            metrics,
            max_connections=_most_connections(settings),
            header_timeout_s=settings.header_timeout_s,
            keepalive_timeout=_KEEPALIVE_S,
            access_log=None,
        )
        await entrance.lead_to(limiter)
        listening = early or await _listen(entrance, listener)
        spare_collector()
        watchdog.ready()
        await stop.wait()
        watchdog.stopping()
        await asyncio.sleep(settings.pre_stop_s)
        listening.close()
        await _leave(runner, settings.drain_s)


async def _listen(entrance: Entrance, listener: socket.socket) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    return await loop.create_server(entrance, sock=listener, backlog=BACKLOG)


async def _leave(runner: web.AppRunner, drain_s: float) -> None:
    """Wait for open requests, then close every connection: aiohttp's own shutdown stops reading, and gives
    each of its steps the whole time."""
    deadline = time.monotonic() + drain_s
    await runner.shutdown()  # ends live streams, which would last for ever
    open_requests = runner.app[OPEN_REQUESTS]
    while open_requests and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    try:
        async with asyncio.timeout(deadline + _CUT_S - time.monotonic()):
            await runner.cleanup()
    except TimeoutError:
        _LOG.warning("requests_cut count=%d", len(open_requests))
        await runner.app.cleanup()


def _most_connections(settings: GatewaySettings) -> int:
    """The configured number, if the system allows that many open files."""
    most = min(settings.connections, raise_file_limit() - _OTHER_FILES)
    if most < settings.connections:
        _LOG.warning("few_open_files connections=%d asked=%d", most, settings.connections)
    return max(1, most)
