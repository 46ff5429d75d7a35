"""Limits on connections: how many are open at once, and how long each may take to send a request.

aiohttp gives a new connection its whole keep-alive time to send its request headers and has no limit
on their number: a few thousand silent connections would lock everyone else out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, cast

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock_common.http.errors import SERVER, expectation_refused
from penstock_common.process.metrics import GatewayMetrics

__all__ = ["ConnectionLimiter"]

_BODY = json.dumps(
    {
        "error": {
            "code": ErrorCode.TOO_MANY_CONNECTIONS,
            "message": "this server has reached its connection limit",
            "hint": ErrorCode.TOO_MANY_CONNECTIONS.hint,
        }
    }
).encode()
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Type: application/json; charset=utf-8\r\n"
    b"Content-Length: %d\r\n"
    b"Retry-After: 2\r\n"
    b"Connection: close\r\n\r\n%s" % (len(_BODY), _BODY)
)
_REFUSAL_SECONDS = 1.0
_MAX_OPEN_REFUSALS = 100


class ConnectionLimiter:
    """Makes the protocol of each new connection: what `loop.create_server` calls.

    Connections above `max_connections` are answered 503. One that has not sent complete request
    headers after `header_timeout_s` is closed. After that, aiohttp's keep-alive time bounds the wait
    for the next request.
    """

    def __init__(
        self,
        server: web.Server,
        metrics: GatewayMetrics,
        *,
        max_connections: int,
        header_timeout_s: float,
        **handler_options: Any,
    ) -> None:
        self._server = server
        self._max_connections = max_connections
        self._options = handler_options
        self._full = metrics.connections_refused.labels("full")
        self.slow_headers = metrics.connections_refused.labels("slow_header")
        self.header_timeout_s = header_timeout_s
        self.open_count = 0
        self.refused_count = 0
        metrics.connections.set_function(lambda: self.open_count)
        handle = server.request_handler

        def note_request(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
            cast(_Connection, request.protocol).has_asked = True
            if not request.headers.get("Expect", "").isascii():
                return _refuse_expectation(request)
            return handle(request)

        server.request_handler = note_request

    def __call__(self) -> asyncio.Protocol:
        if self.open_count < self._max_connections:
            return _Connection(self, self._server, **self._options)
        self._full.inc()
        return _Refused(self)


async def _refuse_expectation(request: web.BaseRequest) -> web.StreamResponse:
    """Where no route matches, aiohttp itself answers, and fails on text that is not ASCII."""
    return expectation_refused()


class _Connection(web.RequestHandler):
    """An accepted connection, counted from its creation: of many accepted in one turn of the event
    loop, all are created before the first is connected."""

    __slots__ = ("_deadline", "_is_counted", "_limiter", "has_asked")

    def __init__(self, limiter: ConnectionLimiter, server: web.Server, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, **options)
        self._limiter = limiter
        self._deadline = loop.call_later(limiter.header_timeout_s, self._look)
        self._is_counted = True
        self.has_asked = False
        limiter.open_count += 1

    def connection_lost(self, exc: BaseException | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp's own answers to malformed requests do not reveal the server software either."""
        response = super().handle_error(request, status, exc, message)
        response.headers["Server"] = SERVER
        return response

    def _look(self) -> None:
        if self.transport is None:  # it broke before it was connected
            self._leave()
        elif not self.has_asked:
            self._limiter.slow_headers.inc()
            self.force_close()

    def _leave(self) -> None:
        self._deadline.cancel()
        if self._is_counted:
            self._is_counted = False
            self._limiter.open_count -= 1


class _Refused(asyncio.Protocol):
    """A connection above the limit: answered 503 when it sends something, closed within a second."""

    def __init__(self, limiter: ConnectionLimiter) -> None:
        self._limiter = limiter
        self._transport: asyncio.Transport
        self._end: asyncio.TimerHandle | None = None
        self._is_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._limiter.refused_count += 1
        if self._limiter.refused_count > _MAX_OPEN_REFUSALS:
            self._transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._end = loop.call_later(_REFUSAL_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        # Keep reading: closing with unread bytes would reset the connection and lose the answer.
        if not self._is_answered:
            self._is_answered = True
            self._transport.write(_REFUSAL)
            self._transport.write_eof()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._limiter.refused_count -= 1
        if self._end is not None:
            self._end.cancel()
