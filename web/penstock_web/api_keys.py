"""`/v1/api-keys`: lists, creates and revokes an entity's keys, for callers with write access.

A new key is shown only once, in the answer that creates it.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.auth import Authenticator, Principal, mint_key
from penstock_common.http.errors import json_response
from penstock_storage.contracts.account_rows import KeyRow
from penstock_storage.contracts.catalog import ApiKeyCatalog
from penstock_web.access import Access, not_found
from penstock_web.models.site import CREATE_API_KEY
from penstock_web.requests import bad_field, body_of

__all__ = ["ApiKeysHandler"]

_LOG = logging.getLogger(__name__)
_USUAL = frozenset({"read", "write"})


class ApiKeysHandler:
    """A new key is for the caller's entity, never has more rights or a later expiry than the caller's
    key, and is never an administrator's. Administrators list and revoke the keys of every entity."""

    def __init__(
        self, catalog: ApiKeyCatalog, access: Access, authenticator: Authenticator, secret: str
    ) -> None:
        self._catalog = catalog
        self._access = access
        self._authenticator = authenticator
        self._secret = secret

    async def all(self, request: web.Request) -> web.Response:
        """List the keys, including revoked and expired ones, without their secrets."""
        owner = await self._owner(request)
        return json_response({"api_keys": [_key_to_json(row) for row in await self._of(owner)]})

    async def post(self, request: web.Request) -> web.Response:
        owner = await self._owner(request)
        body = await body_of(request, CREATE_API_KEY)
        expires_at = await self._expiry(owner, body.expires_at)
        scopes = _USUAL if "admin" in owner.scopes else owner.scopes & _USUAL
        key, text = mint_key("user", owner.entity, scopes, self._secret, expires_at=expires_at)
        await self._catalog.add_api_key(key, body.label)
        _LOG.info("api_key_made id=%s entity=%s", key.id, key.entity)
        made = {
            "id": key.id,
            "entity": key.entity,
            "scopes": sorted(scopes),
            "expires_at": _seconds(expires_at),
            "api_key": text,
        }
        return json_response(made, status=201)

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke a key and return it. On every server, its sessions end at once and all other access
        within 30 seconds."""
        owner = await self._owner(request)
        wanted = request.match_info["id"]
        rows = [row for row in await self._of(owner) if row.id == wanted]
        if not rows:
            raise not_found("API key")
        if not ("admin" in owner.scopes or rows[0].scopes <= owner.scopes):
            raise _forbidden(
                "this API key has more rights than yours", "Use a key with the same rights."
            )
        await self._catalog.accounts.revoke([wanted])
        self._authenticator.forget(wanted)
        _LOG.info("api_key_revoked id=%s entity=%s", wanted, rows[0].entity)
        return json_response({**_key_to_json(rows[0]), "revoked": True})

    async def _owner(self, request: web.Request) -> Principal:
        """The caller, if they may manage keys. Raises `Rejected` (401, 403)."""
        principal = await self._access.principal(request)
        if not principal.may_write(principal.entity):
            raise _forbidden(
                "managing API keys requires write access",
                "Log in with a key first; `penstock up` prints one.",
            )
        return principal

    async def _of(self, owner: Principal) -> list[KeyRow]:
        entity = None if "admin" in owner.scopes else owner.entity
        return await self._catalog.accounts.keys(entity)

    async def _expiry(self, owner: Principal, asked_s: float | None) -> int:
        """The expiry of a new key in µs since 1970, no later than its creator's. 0: never."""
        if asked_s is not None and asked_s <= time.time():
            raise bad_field("expires_at is in the past")
        makers = await self._catalog.api_key(owner.key)
        ends = [int(asked_s * 1e6)] if asked_s is not None else []
        if makers is not None and makers.expires_at:
            ends.append(makers.expires_at)
        return min(ends, default=0)


def _forbidden(message: str, hint: str) -> Rejected:
    return Rejected(message, code=ErrorCode.FORBIDDEN, hint=hint)


def _key_to_json(row: KeyRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "entity": row.entity,
        "scopes": sorted(row.scopes),
        "label": row.name,
        "created_at": row.created_at / 1e6,
        "last_used_at": _seconds(row.last_used_at),
        "expires_at": _seconds(row.expires_at),
        "revoked": row.revoked,
    }


def _seconds(micros: int) -> float | None:
    return micros / 1e6 if micros else None
