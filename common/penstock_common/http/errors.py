"""Turns errors into HTTP replies, for every route of every server process."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDict, CIMultiDictProxy

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient, http_code
from penstock_common.http.payloads import encode_json
from penstock_common.process.activity import Activity
from penstock_common.process.metrics import AUTH_FAILURES, GatewayMetrics

__all__ = [
    "OPEN_REQUESTS",
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
"""The `Server` header: without the version."""

_HARDENED = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}

# All headers at once, and the type as a plain one: aiohttp would parse its own argument for every reply.
# A proxy, so that each reply gets a copy: some versions of aiohttp adopt a CIMultiDict itself.
_JSON_HEADERS = CIMultiDictProxy(
    CIMultiDict({"Content-Type": "application/json; charset=utf-8", **_HARDENED, "Server": SERVER})
)

OPEN_REQUESTS = web.AppKey("open_requests", set[int])
"""Where an application keeps which requests it is answering."""

POINTS = "points"
"""The request key under which a handler reports how many points or buckets its reply holds."""

_LOG = logging.getLogger(__name__)

_MAX_JITTER_S = 5.0
_HINTS = {
    404: "docs/api.md lists the routes.",
    405: "docs/api.md lists the methods of each route.",
    413: "Send it in smaller batches.",
}


async def harden(_: web.Request, response: web.StreamResponse) -> None:
    """For an application's `on_response_prepare`: no sniffing, scripts, framing, use by other sites or
    caching of a reply, unless its route sets other headers."""
    headers = response.headers
    if headers.get("Server") == SERVER:  # a JSON reply has them from the start
        return
    for name, value in _HARDENED.items():
        headers.setdefault(name, value)
    headers["Server"] = SERVER


def json_response(
    payload: Any, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """`payload` as JSON; numpy arrays become lists, NaN becomes null."""
    response = web.Response(body=encode_json(payload), status=status, headers=_JSON_HEADERS)
    if headers:
        response.headers.update(headers)
    return response


def error_response(error: Rejected | Transient) -> web.Response:
    """The reply for this error; `penstock.errors.from_reply` is the inverse."""
    headers = {}
    if isinstance(error, Transient):
        # Jitter, so that rejected clients do not retry all at once.
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
    """The reply to an unsupported `Expect` header."""
    return error_response(
        Rejected(
            "the only supported Expect header is 100-continue",
            code=http_code(417),
            status=417,
            hint="Omit the Expect header.",
        )
    )


async def answer_expectation(request: web.Request) -> web.Response | None:
    """Tell a client that waits to send its body to continue. For routes with a body; replaces aiohttp's
    own, which fails on an `Expect` that is not ASCII."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return expectation_refused()
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
    return None


def middleware(
    metrics: GatewayMetrics,
    stop: asyncio.Event | None = None,
    activity: Activity | None = None,
    open_requests: set[int] | None = None,
) -> Middleware:
    """Counts and times every request, notes it as activity, and turns exceptions into replies.
    `open_requests` has an entry for each that is being answered.

    Once `stop` is set every reply also closes its connection, so that clients move to another process
    before this one exits.
    """

    in_flight: set[int] = set() if open_requests is None else open_requests
    metrics.in_flight.set_function(lambda: len(in_flight))

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        in_flight.add(id(request))
        if activity is not None:
            activity.begin()
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
            in_flight.discard(id(request))
            if activity is not None:
                activity.end()
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "unknown"
            metrics.requests.labels(route, _method(request), str(code)).inc()
            metrics.request_seconds.labels(route).observe(time.perf_counter() - started)
            if POINTS in request:
                metrics.query_points.observe(request[POINTS])

    return answer


def count_refusal(error: Exception, metrics: GatewayMetrics) -> None:
    """Count refusals for a missing key or missing rights."""
    if isinstance(error, Rejected) and error.status in (401, 403):
        reason = error.code if error.code in AUTH_FAILURES else "other"
        metrics.auth_failures.labels(reason).inc()


def _answer_to(error: Exception) -> web.StreamResponse:
    """The reply to a request whose handler raised this."""
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
                code=http_code(error.status),
                status=error.status,
                hint=_HINTS.get(error.status, ""),
            )
        )
    # The seam: a bug in one handler must not crash the process, and must be logged.
    _LOG.error("request_failed", exc_info=error)
    return error_response(Rejected("the server failed while answering", code=ErrorCode.INTERNAL))


def _method(request: web.Request) -> str:
    return (
        request.method if request.method in ("GET", "POST", "PUT", "PATCH", "DELETE") else "other"
    )
