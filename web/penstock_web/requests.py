"""Validates JSON bodies and query strings; errors name the invalid field."""

from __future__ import annotations

from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.bodies import BODIES, STRANGERS
from penstock_common.http.checks import checked_json, refusal
from penstock_common.http.same_origin import require_json

__all__ = ["bad_field", "body_of", "query_of", "stranger_body_of"]

ModelT = TypeVar("ModelT", bound=BaseModel)

_MAX_BODY_BYTES = 2**20


def bad_field(message: str) -> Rejected:
    return Rejected(message, code=ErrorCode.BAD_FIELD, hint="docs/api.md lists the fields.")


def query_of(request: web.Request, model: type[ModelT]) -> ModelT:
    """The query string as a model; a repeated parameter becomes a list."""
    given = {
        name: found if len(found := request.query.getall(name)) > 1 else found[0]
        for name in request.query
    }
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise refusal(error, "parameter") from None


async def body_of(request: web.Request, model: type[ModelT]) -> ModelT:
    """The JSON body of an authenticated caller as a model, with strict types."""
    async with request.config_dict[BODIES].body(request, _MAX_BODY_BYTES) as body:
        return checked_json(body, model)


async def stranger_body_of(request: web.Request, model: type[ModelT]) -> ModelT:
    """The same for an unauthenticated caller, which may be another site's page."""
    require_json(request)
    async with request.config_dict[STRANGERS].body(request) as body:
        return checked_json(body, model)
