"""Sessions of the page: a signed cookie that stands for an API key until it expires.

The cookie holds the key's public id and a time, nothing secret, and no process keeps state. The key
is looked up again every 30 seconds, so revoking it ends its sessions too.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from penstock.errors import Rejected
from penstock_common.auth import Authenticator, Principal
from penstock_storage.interface import Catalog
from penstock_web.models.site import Login
from penstock_web.requests import refuse_other_sites, stranger_body_of

__all__ = ["COOKIE", "SessionHandler", "Sessions"]

COOKIE = "penstock_session"
_LIFETIME_S = 7 * 24 * 3600
_CACHE_S = 30.0
_CACHE_ENTRIES = 10_000
_ATTEMPTS = 10
_ATTEMPTS_S = 60.0


class Sessions:
    """Signs and reads the cookie."""

    def __init__(
        self, catalog: Catalog, secret: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._catalog = catalog
        self._key = hmac.digest(secret.encode(), b"penstock session v1", hashlib.sha256)
        self._clock = clock
        self._known: dict[str, tuple[float, Principal | None]] = {}

    def cookie(self, key_id: str) -> str:
        """A cookie for the key of this id, good for seven days."""
        text = f"{key_id}.{int(self._clock()) + _LIFETIME_S}"
        return f"{text}.{self._signature(text)}"

    async def principal(self, cookie: str) -> Principal | None:
        """Whom the cookie stands for; None if it is forged, expired, or its key was revoked."""
        text, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(text).encode()):
            return None
        key_id, _, expires = text.partition(".")
        if int(expires) <= self._clock():
            return None
        known = self._known.get(key_id)
        if known is not None and known[0] > self._clock():
            return known[1]
        key = await self._catalog.api_key(key_id)
        usable = key is not None and not key.revoked
        principal = Principal(key.entity, key.scopes) if usable and key is not None else None
        if len(self._known) >= _CACHE_ENTRIES:
            self._known.clear()
        self._known[key_id] = (self._clock() + _CACHE_S, principal)
        return principal

    def _signature(self, text: str) -> str:
        digest = hmac.digest(self._key, text.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class SessionHandler:
    """`POST` and `DELETE /v1/session`."""

    def __init__(self, authenticator: Authenticator, sessions: Sessions, root_path: str) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self._path = "/" + root_path.strip("/")
        self._failures = _Failures()

    async def post(self, request: web.Request) -> web.Response:
        """204 and the cookie for `{"api_key": …}`."""
        refuse_other_sites(request)
        address = request.remote or ""
        self._failures.check(address)
        text = (await stranger_body_of(request, Login)).api_key
        try:
            await self._authenticator.authenticate({"Authorization": f"Bearer {text.strip()}"})
        except Rejected:
            self._failures.add(address)
            raise
        response = web.Response(status=204)
        response.set_cookie(
            COOKIE,
            self._sessions.cookie(text.strip().split("_")[2]),
            max_age=_LIFETIME_S,
            path=self._path,
            httponly=True,
            samesite="Lax",
            secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
        )
        return response

    async def delete(self, request: web.Request) -> web.Response:
        """204; the browser forgets the cookie."""
        response = web.Response(status=204)
        response.del_cookie(COOKIE, path=self._path)
        return response


class _Failures:
    """At most ten failed logins per minute and address."""

    def __init__(self) -> None:
        self._at: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, address: str) -> None:
        recent = [at for at in self._at.get(address, ()) if at > time.monotonic() - _ATTEMPTS_S]
        if len(recent) >= _ATTEMPTS:
            raise Rejected(
                "too many failed logins from this address",
                code="too_many_attempts",
                status=429,
                hint="Wait a minute.",
            )

    def add(self, address: str) -> None:
        self._at.setdefault(address, []).append(time.monotonic())
        self._at.move_to_end(address)
        del self._at[address][:-_ATTEMPTS]
        while len(self._at) > _CACHE_ENTRIES:
            self._at.popitem(last=False)
