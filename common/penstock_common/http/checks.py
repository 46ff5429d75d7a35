"""Checks input with pydantic; refusals name the field at fault."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected

__all__ = ["MAX_JSON_BYTES", "checked_json", "refusal"]

MAX_JSON_BYTES = 4 * 2**20
"""The largest body that is checked this way: a larger one would hold up other requests."""

ModelT = TypeVar("ModelT", bound=BaseModel)


def checked_json(body: bytes, model: type[ModelT]) -> ModelT:
    """A JSON body as a model, strictly typed.

    Raises `Rejected` (400).
    """
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise refusal(error, "field") from None


def refusal(error: ValidationError, what: str) -> Rejected:
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
