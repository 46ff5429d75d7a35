"""Checks JSON bodies and query strings with the models of their operations; errors name the invalid field."""

from __future__ import annotations

from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.bodies import BODIES, STRANGERS
from penstock_common.http.checks import checked_json, checked_query
from penstock_common.http.openapi import Operation
from penstock_common.http.same_origin import require_json

__all__ = ["bad_field", "body_of", "query_of", "stranger_body_of"]

ModelT = TypeVar("ModelT", bound=BaseModel)

_MAX_BODY_BYTES = 2**20


def bad_field(message: str) -> Rejected:
    return Rejected(message, code=ErrorCode.BAD_FIELD, hint="docs/api.md lists the fields.")


def query_of(request: web.Request, operation: Operation[ModelT, Any]) -> ModelT:
    """The query string as the operation's model; a repeated parameter becomes a list."""
    given = {
        name: found if len(found := request.query.getall(name)) > 1 else found[0]
        for name in request.query
    }
    return checked_query(given, operation)


async def body_of(request: web.Request, operation: Operation[Any, ModelT]) -> ModelT:
    """The JSON body of an authenticated caller as the operation's model, with strict types."""
    async with request.config_dict[BODIES].body(request, _MAX_BODY_BYTES) as body:
        return checked_json(body, operation)


async def stranger_body_of(request: web.Request, operation: Operation[Any, ModelT]) -> ModelT:
    """The same for an unauthenticated caller, which may be another site's page."""
    require_json(request)
    async with request.config_dict[STRANGERS].body(request) as body:
        return checked_json(body, operation)
