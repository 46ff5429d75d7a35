"""The page's sessions: a signed cookie with a random id, which represents an API key until it expires,
is ended, or the key is revoked.

The catalog stores a hash of the id, so a logout on any server applies to all of them. Each process
looks a session up again every 30 seconds. Forged cookies are rejected by their signature alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable

from aiohttp import web

from penstock.errors import Rejected
from penstock.ids import new_session_id
from penstock_common.http.auth import Authenticator, Principal, key_id_of
from penstock_common.http.proxies import proxies_of
from penstock_common.http.same_origin import SESSION_COOKIE as COOKIE
from penstock_common.http.same_origin import session_cookies
from penstock_storage.contracts.account_rows import SessionRow
from penstock_storage.contracts.catalog import ApiKeyCatalog
from penstock_web.models.site import LOG_IN, LOG_OUT
from penstock_web.requests import query_of, stranger_body_of
from penstock_web.throttle import LoginThrottle

__all__ = ["COOKIE", "SessionHandler", "Sessions"]

_LIFETIME_S = 7 * 24 * 3600
_CACHE_S = 30.0
_MAX_CACHE_ENTRIES = 10_000


class Sessions:
    """Opens, finds and ends sessions. `clock` returns Unix seconds."""

    def __init__(
        self,
        catalog: ApiKeyCatalog,
        secret: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._key = hmac.digest(secret.encode(), b"penstock session v1", hashlib.sha256)
        self._clock = clock
        self._known: dict[str, tuple[float, Principal | None]] = {}

    async def open(self, key_id: str) -> str:
        """The cookie of a new session for the key with this id, valid for seven days."""
        now = self._clock()
        session = new_session_id()
        row = SessionRow(_hash(session), key_id, int(now * 1e6), int((now + _LIFETIME_S) * 1e6))
        await self._catalog.accounts.open_session(row)
        text = f"{session}.{int(now) + _LIFETIME_S}"
        return f"{text}.{self._signature(text)}"

    async def principal(self, cookie: str) -> Principal | None:
        """The cookie's principal; None if it is forged, expired or ended, or its key was revoked."""
        session = self._session(cookie)
        if session is None:
            return None
        known = self._known.get(session)
        if known is not None and known[0] > self._clock():
            return known[1]
        principal = await self._look_up(session)
        if len(self._known) >= _MAX_CACHE_ENTRIES:
            self._known.clear()
        self._known[session] = (self._clock() + _CACHE_S, principal)
        return principal

    async def end(self, cookie: str, *, everywhere: bool) -> None:
        """End the cookie's session, or all sessions of its key; none if it is forged."""
        session = self._session(cookie)
        row = await self._row(session) if session is not None else None
        if row is None:
            return
        if everywhere:
            await self._catalog.accounts.end_sessions(row.key)
            self._known.clear()
        else:
            await self._catalog.accounts.end_session(row.id)
            self._known.pop(session or "", None)

    def _session(self, cookie: str) -> str | None:
        """The session's id, if the cookie's signature is valid and it has not expired."""
        text, _, signature = cookie.rpartition(".")
        wanted = self._signature(text)
        if not hmac.compare_digest(signature.encode(errors="replace"), wanted.encode()):
            return None
        session, _, expires = text.partition(".")
        return session if int(expires) > self._clock() else None

    async def _row(self, session: str) -> SessionRow | None:
        row = await self._catalog.accounts.session(_hash(session))
        return row if row is not None and row.expires_at > self._clock() * 1e6 else None

    async def _look_up(self, session: str) -> Principal | None:
        row = await self._row(session)
        key = await self._catalog.api_key(row.key) if row is not None else None
        if key is None or not key.is_good(self._clock()):
            return None
        return Principal(key.entity, key.scopes, key.id)

    def _signature(self, text: str) -> str:
        digest = hmac.digest(self._key, text.encode(errors="replace"), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class SessionHandler:
    """`POST` and `DELETE /v1/session`."""

    def __init__(self, authenticator: Authenticator, sessions: Sessions, root_path: str) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self._path = "/" + root_path.strip("/")
        self._throttle = LoginThrottle()

    async def post(self, request: web.Request) -> web.Response:
        """204 and the cookie for `{"api_key": …}`."""
        text = (await stranger_body_of(request, LOG_IN)).api_key.strip()
        account, address = key_id_of(text), proxies_of(request).client(request)
        self._throttle.check(account, address)
        try:
            principal = await self._authenticator.authenticate({"Authorization": f"Bearer {text}"})
        except Rejected as refusal:
            raise self._throttle.failed(account, address, refusal) from None
        response = web.Response(status=204)
        response.set_cookie(
            COOKIE,
            await self._sessions.open(principal.key),
            max_age=_LIFETIME_S,
            path=self._path,
            httponly=True,
            samesite="Lax",
            # A false claim of https only keeps the cookie off plain http.
            secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
        )
        return response

    async def delete(self, request: web.Request) -> web.Response:
        """204; ends the session, also for copies of its cookie. With `everywhere=true`, ends all
        sessions of the same API key."""
        everywhere = query_of(request, LOG_OUT).everywhere
        for cookie in session_cookies(request):
            await self._sessions.end(cookie, everywhere=everywhere)
        response = web.Response(status=204)
        response.del_cookie(COOKIE, path=self._path)
        return response


def _hash(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()
