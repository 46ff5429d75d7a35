"""Checks requests with the models of their operations; refusals name the field at fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, Rejected
from penstock_common.http.openapi import Operation

__all__ = ["MAX_JSON_BYTES", "checked_json", "checked_query"]

MAX_JSON_BYTES = 4 * 2**20
"""The largest body that is checked this way: a larger one would hold up other requests."""

ModelT = TypeVar("ModelT", bound=BaseModel)


def checked_query(given: Mapping[str, object], operation: Operation[ModelT, Any]) -> ModelT:
    """The parameters of a request as its operation's model.

    Raises `Rejected` (400).
    """
    model = operation.query
    if model is None:
        raise Broken(f"{operation.method} {operation.path} takes no query")
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise _refusal(error, "parameter") from None


def checked_json(body: bytes, operation: Operation[Any, ModelT]) -> ModelT:
    """The JSON body of a request as its operation's model, strictly typed.

    Raises `Rejected` (400).
    """
    model = operation.body
    if not isinstance(model, type):
        raise Broken(f"{operation.method} {operation.path} has no model for its body")
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise _refusal(error, "field") from None


def _refusal(error: ValidationError, what: str) -> Rejected:
    """The first error, and where it is."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(each) for each in first["loc"])
    match first["type"]:
        case "json_invalid":
            return Rejected(f"the body is not valid JSON: {first['msg']}", code=ErrorCode.BAD_JSON)
        case "model_type" if not place:
            return Rejected("the body must be a JSON object", code=ErrorCode.BAD_JSON)
        case "extra_forbidden":
            return _bad(f"unknown {what} {place!r}")
        case "missing":
            return _bad(f"{place} is missing")
        case _:
            return _bad(f"{place}: {first['msg']}" if place else first["msg"])


def _bad(message: str) -> Rejected:
    return Rejected(message, code=ErrorCode.BAD_FIELD, hint="docs/api.md lists the fields.")
