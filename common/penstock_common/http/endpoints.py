"""Binds operations to their handlers: each becomes a route and a part of the OpenAPI document, which the
application serves at `/v1/openapi.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from penstock.errors import Broken
from penstock_common.http.errors import json_response
from penstock_common.http.openapi import AnyOperation, openapi_document
from penstock_common.http.routes import Routes

__all__ = ["add_endpoints", "add_operations"]


class _Described:
    """An application's operations, and their document, which takes a while to make."""

    def __init__(self) -> None:
        self.operations: list[AnyOperation] = []

    @cached_property
    def document(self) -> dict[str, Any]:
        return openapi_document(self.operations)


_DESCRIBED = web.AppKey("described", _Described)


def add_endpoints(
    app: web.Application,
    operations: Sequence[AnyOperation],
    handlers: Mapping[AnyOperation, Handler],
) -> None:
    """Route each operation to its handler, and describe all of them.

    Raises `Broken` if an operation has no handler, or a handler is bound to none of the operations.
    """
    without = [each for each in operations if each not in handlers]
    unlisted = handlers.keys() - set(operations)
    if without or unlisted:
        raise Broken(f"not bound: {_listed(without)}; bound, but not listed: {_listed(unlisted)}")
    routes = Routes(app)
    for operation in operations:
        routes.add(
            operation.method,
            operation.path,
            handlers[operation],
            allow_head=operation.allow_head,
        )
    add_operations(app, operations)


def add_operations(app: web.Application, operations: Iterable[AnyOperation]) -> None:
    """Describe operations whose routes are added elsewhere."""
    if _DESCRIBED not in app:
        app[_DESCRIBED] = _Described()
        Routes(app).get("/v1/openapi.json", _document)
    app[_DESCRIBED].operations.extend(operations)


async def _document(request: web.Request) -> web.Response:
    return json_response(request.app[_DESCRIBED].document)


def _listed(operations: Iterable[AnyOperation]) -> str:
    return ", ".join(f"{each.method} {each.path}" for each in operations) or "none"
