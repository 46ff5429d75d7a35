"""The one place where errors become HTTP answers, for every route of every server process."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from penstock.errors import Rejected, Transient
from penstock_common.metrics import AUTH_FAILURES, GatewayMetrics
from penstock_common.payloads import encode_json

__all__ = [
    "POINTS",
    "SERVER",
    "answer_expectation",
    "count_refusal",
    "error_response",
    "expectation_refused",
    "harden",
    "json_response",
    "middleware",
]

SERVER = "Penstock"
"""What the `Server` header says: no name and no version of what answers."""

_HARDENED = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}

POINTS = "points"
"""Where a handler says how many points or buckets its answer holds."""

_LOG = logging.getLogger(__name__)

_MAX_JITTER_S = 5.0
_HINTS = {
    404: "docs/api.md lists the routes.",
    405: "docs/api.md lists the methods of each route.",
    413: "Send it in smaller batches.",
}


async def harden(_: web.Request, response: web.StreamResponse) -> None:
    """For an application's `on_response_prepare`: no answer may be taken for another type, run, be
    framed or be used by another site, and data stays out of caches, unless its route says otherwise."""
    for name, value in _HARDENED.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = SERVER


def json_response(
    payload: Any, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """`payload` as JSON; numpy arrays become lists, NaN becomes null."""
    # The type as a plain header: aiohttp's own argument for it is parsed at every answer.
    return web.Response(
        body=encode_json(payload),
        status=status,
        headers={"Content-Type": "application/json; charset=utf-8", **(headers or {})},
    )


def error_response(error: Rejected | Transient) -> web.Response:
    """The answer that stands for this error; `penstock.errors.from_reply` reads it back."""
    headers = {}
    if isinstance(error, Transient):
        # Jitter, so that those who were sent away do not come back together.
        wait_s = error.retry_after_s if error.retry_after_s is not None else 1.0
        jitter_s = random.uniform(0, min(wait_s, _MAX_JITTER_S))  # noqa: S311
        headers["Retry-After"] = str(max(1, round(wait_s + jitter_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    fields: dict[str, Any] = {"code": error.code, "message": str(error), "hint": error.hint}
    if isinstance(error, Rejected) and error.supported:
        fields["supported"] = error.supported
    return json_response({"error": fields}, error.status, headers)


def expectation_refused() -> web.Response:
    """The answer to an `Expect` that nobody here can meet."""
    return error_response(
        Rejected(
            "the only expectation that is known here is 100-continue",
            code="http_417",
            status=417,
            hint="Leave the Expect header out.",
        )
    )


async def answer_expectation(request: web.Request) -> web.Response | None:
    """Tells a client that waits with its body to go on. For routes that take one, in place of
    aiohttp's own, which fails on an `Expect` that is not ASCII."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return expectation_refused()
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
    return None


def middleware(metrics: GatewayMetrics, stop: asyncio.Event | None = None) -> Middleware:
    """Counts and times every request, and turns what it raises into an answer.

    Once `stop` is set every answer also ends its connection, so that clients go to another process
    before this one leaves.
    """

    open_requests: set[int] = set()
    metrics.in_flight.set_function(lambda: len(open_requests))

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        open_requests.add(id(request))
        code = 500
        try:
            try:
                response = await handler(request)
            except Exception as error:
                count_refusal(error, metrics)
                response = _answer_to(error)
            code = response.status
            if stop is not None and stop.is_set():
                response.force_close()
            return response
        finally:
            open_requests.discard(id(request))
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "unknown"
            metrics.requests.labels(route, _method(request), str(code)).inc()
            metrics.request_seconds.labels(route).observe(time.perf_counter() - started)
            if POINTS in request:
                metrics.query_points.observe(request[POINTS])

    return answer


def count_refusal(error: Exception, metrics: GatewayMetrics) -> None:
    """Count who was turned away for want of a key or of leave."""
    if isinstance(error, Rejected) and error.status in (401, 403):
        reason = error.code if error.code in AUTH_FAILURES else "other"
        metrics.auth_failures.labels(reason).inc()


def _answer_to(error: Exception) -> web.StreamResponse:
    """The answer to a request whose handler raised this."""
    if isinstance(error, Rejected | Transient):
        return error_response(error)
    if isinstance(error, ConnectionResetError):
        raise error
    if isinstance(error, web.HTTPException):
        if error.status < 400:
            raise error
        return error_response(
            Rejected(
                error.reason,
                code=f"http_{error.status}",
                status=error.status,
                hint=_HINTS.get(error.status, ""),
            )
        )
    # The seam: a bug in one handler must not end the process, and must be seen.
    _LOG.error("request_failed", exc_info=error)
    return error_response(
        Rejected(
            "the server failed while answering",
            code="internal",
            status=500,
            hint="Its log has the details. The same request may succeed later.",
        )
    )


def _method(request: web.Request) -> str:
    return (
        request.method if request.method in ("GET", "POST", "PUT", "PATCH", "DELETE") else "other"
    )
