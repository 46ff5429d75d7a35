"""Who may come in: so many connections at once, and each must say what it wants in time.

aiohttp gives a new connection its whole keep-alive time to send a request's head, and knows no limit
to their number: a few thousand silent ones would lock everybody else out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, cast

from aiohttp import web

from penstock_common.http import SERVER, expectation_refused
from penstock_common.metrics import GatewayMetrics

__all__ = ["Doors"]

_BODY = json.dumps(
    {
        "error": {
            "code": "too_many_connections",
            "message": "this server has as many connections as it may hold",
            "hint": "Nothing was stored; send the same request again later.",
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
_REFUSAL_LEAVES_S = 1.0
_MOST_REFUSALS = 100


class Doors:
    """Makes the protocol of each new connection: what `loop.create_server` calls.

    `most` connections are held at once; more are answered 503. One that has sent no whole head of a
    request after `header_timeout_s` is closed. Afterwards aiohttp's keep-alive time bounds the wait
    for the next one.
    """

    def __init__(
        self,
        server: web.Server,
        metrics: GatewayMetrics,
        *,
        most: int,
        header_timeout_s: float,
        **handler_options: Any,
    ) -> None:
        self._server = server
        self._most = most
        self._options = handler_options
        self._full = metrics.connections_refused.labels("full")
        self.slow_headers = metrics.connections_refused.labels("slow_header")
        self.header_timeout_s = header_timeout_s
        self.held = 0
        self.refusing = 0
        metrics.connections.set_function(lambda: self.held)
        handle = server.request_handler

        def greet(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
            cast(_Visitor, request.protocol).has_asked = True
            if not request.headers.get("Expect", "").isascii():
                return _refuse_expectation(request)
            return handle(request)

        server.request_handler = greet

    def __call__(self) -> asyncio.Protocol:
        if self.held < self._most:
            return _Visitor(self, self._server, **self._options)
        self._full.inc()
        return _Refused(self)


async def _refuse_expectation(request: web.BaseRequest) -> web.StreamResponse:
    """Where there is no route aiohttp itself answers, and fails on what is not ASCII."""
    return expectation_refused()


class _Visitor(web.RequestHandler):
    """A connection that was let in. It counts from the start: of many that are accepted in one turn
    of the loop, all are made before the first one is connected."""

    __slots__ = ("_deadline", "_doors", "_is_held", "has_asked")

    def __init__(self, doors: Doors, server: web.Server, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, **options)
        self._doors = doors
        self._deadline = loop.call_later(doors.header_timeout_s, self._look)
        self._is_held = True
        self.has_asked = False
        doors.held += 1

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
        """aiohttp's own answers, to what is no request, do not say what it is either."""
        response = super().handle_error(request, status, exc, message)
        response.headers["Server"] = SERVER
        return response

    def _look(self) -> None:
        if self.transport is None:  # it broke before it was connected
            self._leave()
        elif not self.has_asked:
            self._doors.slow_headers.inc()
            self.force_close()

    def _leave(self) -> None:
        self._deadline.cancel()
        if self._is_held:
            self._is_held = False
            self._doors.held -= 1


class _Refused(asyncio.Protocol):
    """A connection too many: told so as soon as it speaks, and gone within a second."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._transport: asyncio.Transport
        self._end: asyncio.TimerHandle | None = None
        self._is_told = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._doors.refusing += 1
        if self._doors.refusing > _MOST_REFUSALS:
            self._transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._end = loop.call_later(_REFUSAL_LEAVES_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        # What comes is read to its end: closing on unread bytes would tear up the answer.
        if not self._is_told:
            self._is_told = True
            self._transport.write(_REFUSAL)
            self._transport.write_eof()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._doors.refusing -= 1
        if self._end is not None:
            self._end.cancel()
