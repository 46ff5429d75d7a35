"""Opaque ids of GraphQL objects: type and number."""

from __future__ import annotations

import base64
import binascii

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected

__all__ = ["decode_id", "encode_id"]


def encode_id(kind: str, which: object) -> str:
    """The id of, for example, `Run` number 7."""
    return base64.urlsafe_b64encode(f"{kind}:{which}".encode()).decode()


def decode_id(kind: str, text: str) -> str:
    """The object in an id. Raises `Rejected` if it is not an id of this kind."""
    try:
        head, _, which = base64.urlsafe_b64decode(text.encode()).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        head, which = "", ""
    if head != kind or not which:
        raise Rejected(f"{text[:80]!r} is not the id of a {kind}", code=ErrorCode.BAD_ID)
    return which
