"""The context of a request: its caller, its headers, and the handlers' dependencies."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire import check_name
from penstock_common.http.auth import Authenticator, Principal
from penstock_compat.wandb.dependencies import WandbDependencies

__all__ = ["RequestContext", "authenticate", "base_url"]

_HINT = "Set WANDB_API_KEY to a Penstock key; the page /authorize shows where to find it."


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request. `base_url` is the client's URL of this server, without a trailing slash."""

    deps: WandbDependencies
    principal: Principal
    base_url: str
    headers: Mapping[str, str]

    def entity(self, name: str | None) -> str:
        """The entity to write to; defaults to the API key's.

        Raises `Rejected` (403) if the key may not write there.
        """
        entity = check_name("entity", name) if name else self.principal.entity
        if not self.principal.may_write(entity):
            raise Rejected(
                f"this key may not write to the entity {entity!r}",
                code=ErrorCode.FORBIDDEN,
                hint="Omit the entity to write to the key's own.",
            )
        return entity

    def readable(self, name: str | None) -> str | None:
        """The entity to read, by default the API key's; None if the key may not read it."""
        entity = name or self.principal.entity
        return entity if self.principal.may_read(entity) else None


async def authenticate(authenticator: Authenticator, headers: Mapping[str, str]) -> Principal:
    """The principal of `Authorization: Basic base64("api:" + key)` or of a bearer key.

    Raises `Rejected` (401).
    """
    scheme, _, text = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return await authenticator.authenticate(headers)
    try:
        _, _, key = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Rejected(
            "the Authorization header is not valid", code=ErrorCode.MALFORMED_KEY, hint=_HINT
        ) from None
    try:
        return await authenticator.authenticate({"Authorization": f"Bearer {key}"})
    except Rejected as error:
        raise Rejected(str(error), code=error.code, status=error.status, hint=_HINT) from None


def base_url(request: web.Request, root_path: str) -> str:
    """The client's URL of this server."""
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme)
    host = request.headers.get("X-Forwarded-Host", request.host)
    prefix = root_path.strip("/")
    return f"{scheme}://{host}{'/' + prefix if prefix else ''}"
