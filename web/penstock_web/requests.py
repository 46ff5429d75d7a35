"""Reading requests: JSON bodies and query strings, refused with the name of the field at fault."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from penstock.errors import Rejected
from penstock_common.checks import checked_json, refusal

__all__ = [
    "bad_field", "body_of", "integer_param", "json_object", "name_list", "number_field", "query_of",
]  # fmt: skip

ModelT = TypeVar("ModelT", bound=BaseModel)

_BODY_BYTES = 4 * 2**20


def bad_field(message: str) -> Rejected:
    return Rejected(message, code="bad_field", hint="docs/api.md lists the fields.")


def query_of(request: web.Request, model: type[ModelT]) -> ModelT:
    """The query string as a model; a parameter that is given several times is a list."""
    given = {
        name: found if len(found := request.query.getall(name)) > 1 else found[0]
        for name in request.query
    }
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise refusal(error, "parameter") from None


async def body_of(request: web.Request, model: type[ModelT]) -> ModelT:
    """The JSON body as a model, each value of the very type that the model names."""
    return checked_json(await _body(request), model)


async def _body(request: web.Request) -> bytes:
    if (request.content_length or 0) > _BODY_BYTES:
        raise Rejected("the body is larger than 4 MiB", code="body_too_large", status=413)
    body = await request.read()
    if len(body) > _BODY_BYTES:
        raise Rejected("the body is larger than 4 MiB", code="body_too_large", status=413)
    return body


async def json_object(request: web.Request, fields: Set[str]) -> dict[str, Any]:
    """The body, an object with none but these fields."""
    try:
        found = orjson.loads(await _body(request))
    except orjson.JSONDecodeError as error:
        raise Rejected(f"the body is not valid JSON: {error}", code="bad_json") from None
    if not isinstance(found, dict):
        raise Rejected("the body must be a JSON object", code="bad_json")
    unknown = sorted(set(found) - set(fields))
    if unknown:
        raise bad_field(f"unknown field {unknown[0]!r}; known: {', '.join(sorted(fields))}")
    return found


def name_list(fields: Mapping[str, Any], name: str, limit: int) -> list[str]:
    """A list of at most `limit` strings, repeats removed."""
    found = fields.get(name)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise bad_field(f"{name} must be a list of strings")
    if len(found) > limit:
        raise bad_field(f"{name} has {len(found)} entries, at most {limit} are allowed")
    return list(dict.fromkeys(found))


def number_field(fields: Mapping[str, Any], name: str) -> float | None:
    """A finite number, or None if the field is absent or null."""
    found = fields.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise bad_field(f"{name} must be a number")
    if abs(found) >= 2**60:
        raise bad_field(f"{name} is out of range")
    return found


def integer_param(request: web.Request, name: str, default: int) -> int:
    """A whole number of the query string."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        found = int(text)
    except ValueError:
        raise bad_field(f"{name} must be a whole number, got {text[:40]!r}") from None
    if abs(found) >= 2**60:
        raise bad_field(f"{name} is out of range")
    return found
