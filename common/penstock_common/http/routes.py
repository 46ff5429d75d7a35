"""Routes of an application: how names in paths are matched, and protection of changes against cross-site
requests.

A name is one segment of the path, percent-encoded as UTF-8, with any character that names may have
(`penstock.wire.check_name`). aiohttp's own `{name}` does not match braces, and its `.` no line breaks,
so some valid names would match no route.
"""

from __future__ import annotations

import functools
import re

from aiohttp import web
from aiohttp.typedefs import Handler

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.errors import answer_expectation
from penstock_common.http.same_origin import refuse_other_origins

__all__ = ["Routes"]

_NAME = re.compile(r"{([a-z_]\w*)}")
_REST = re.compile(r"{(\w+):\.\+}")


class Routes:
    """Adds routes to one application.

    In a path `{name}` is one segment, `{name:.+}` the rest of the path, slashes included; any other
    pattern is left as it is. Pages of other sites cannot use routes that change something, except
    `signed` addresses, which carry their own permission and ignore cookies.
    """

    def __init__(self, app: web.Application) -> None:
        self._router = app.router

    def add(self, method: str, path: str, handler: Handler, *, allow_head: bool = True) -> None:
        """A route with any method but OPTIONS. `allow_head` concerns GET alone."""
        if method == "GET":
            self.get(path, handler, allow_head=allow_head)
        else:
            self._add(method, path, handler)

    def get(self, path: str, handler: Handler, *, allow_head: bool = True) -> None:
        self._router.add_get(
            _pattern(path),
            _no_service_worker(handler),
            allow_head=allow_head,
            expect_handler=answer_expectation,
        )

    def options(self, path: str, handler: Handler) -> None:
        self._router.add_options(_pattern(path), handler, expect_handler=answer_expectation)

    def post(self, path: str, handler: Handler) -> None:
        self._add("POST", path, handler)

    def put(self, path: str, handler: Handler, *, signed: bool = False) -> None:
        self._add("PUT", path, handler, signed=signed)

    def _add(self, method: str, path: str, handler: Handler, *, signed: bool = False) -> None:
        """A route with a body, which the client may hold back until the server asks for it."""
        self._router.add_route(
            method,
            _pattern(path),
            handler if signed else _guarded(handler),
            expect_handler=answer_expectation,
        )


def _guarded(handler: Handler) -> Handler:
    @functools.wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        refuse_other_origins(request)
        return await handler(request)

    return guarded


def _no_service_worker(handler: Handler) -> Handler:
    """The page has no service worker; one from this server would see all requests of the page."""

    @functools.wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        if "Service-Worker" in request.headers:
            raise Rejected("this server has no service worker", code=ErrorCode.NO_SERVICE_WORKER)
        return await handler(request)

    return guarded


def _pattern(path: str) -> str:
    """The path as aiohttp's router takes it."""
    return _REST.sub(r"{\1:(?s:.+)}", _NAME.sub(r"{\1:[^/]+}", path))
