"""`POST /v1/api-keys`: a new API key for whoever may write, shown in this one answer and never again."""

from __future__ import annotations

import logging

from aiohttp import web

from penstock.errors import Rejected
from penstock_common.auth import mint_key
from penstock_common.http import json_response
from penstock_storage.interface import Catalog
from penstock_web.access import Access
from penstock_web.models.site import NewKey
from penstock_web.requests import body_of, refuse_other_sites

__all__ = ["ApiKeysHandler"]

_LOG = logging.getLogger(__name__)
_USUAL = frozenset({"read", "write"})


class ApiKeysHandler:
    """Makes keys. A new key is for the asker's own entity and can do no more than the asker; it is
    never an administrator's. Who reads without a login gets none."""

    def __init__(self, catalog: Catalog, access: Access, secret: str) -> None:
        self._catalog = catalog
        self._access = access
        self._secret = secret

    async def post(self, request: web.Request) -> web.Response:
        refuse_other_sites(request)
        principal = await self._access.principal(request)
        if not principal.may_write(principal.entity):
            raise Rejected(
                "who may only read can make no API key",
                code="forbidden",
                status=403,
                hint="Log in with a key first; `penstock up` prints one.",
            )
        label = (await body_of(request, NewKey)).label
        scopes = _USUAL if "admin" in principal.scopes else principal.scopes & _USUAL
        key, text = mint_key("user", principal.entity, scopes, self._secret)
        await self._catalog.add_api_key(key, label)
        _LOG.info("api_key_made id=%s entity=%s", key.id, key.entity)
        made = {"id": key.id, "entity": key.entity, "scopes": sorted(scopes), "api_key": text}
        return json_response(made, status=201)
