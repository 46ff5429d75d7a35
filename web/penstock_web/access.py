"""Read access: by API key, by the page's session cookie, or, on a loopback server, for everyone on
that machine.

What a principal may not read does not exist for them: the answer is the same 404.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.auth import Authenticator, Principal
from penstock_common.http.same_origin import session_cookies
from penstock_common.queue.demand import no_demand
from penstock_web.session import Sessions

__all__ = ["Access", "not_found"]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Via")


def not_found(what: str) -> Rejected:
    """The answer for what does not exist and for what the caller may not read."""
    return Rejected(
        f"{what} was not found",
        code=ErrorCode.NOT_FOUND,
        hint="GET /v1/projects lists the projects that this key can read.",
    )


class Access:
    """Identifies callers."""

    def __init__(
        self,
        authenticator: Authenticator,
        sessions: Sessions,
        *,
        default_entity: str,
        open_reads: bool,
        note_read: Callable[[], Awaitable[None]] = no_demand,
    ) -> None:
        """`note_read` is awaited whenever somebody reads."""
        self._authenticator = authenticator
        self._sessions = sessions
        self._visitor = Principal(default_entity, frozenset({"read"}))
        self._open_reads = open_reads
        self._note_read = note_read

    async def principal(self, request: web.Request) -> Principal:
        """The caller. Raises `Rejected` (401)."""
        principal = await self._identify(request)
        await self._note_read()
        return principal

    async def _identify(self, request: web.Request) -> Principal:
        if "Authorization" in request.headers:
            return await self._authenticator.authenticate(request.headers)
        for cookie in session_cookies(request):
            if known := await self._sessions.principal(cookie):
                return known
        if self.is_open(request):
            return self._visitor
        raise Rejected(
            "this requires a login or an API key",
            code=ErrorCode.NO_KEY,
            hint="Send `Authorization: Bearer penstock_…`, or log in on the page.",
        )

    async def reader(self, request: web.Request, what: str) -> Principal:
        """The caller, if they may read the `{entity}` in the path; otherwise raises a 404 for
        `what`."""
        principal = await self.principal(request)
        self.check(principal, request.match_info["entity"], what)
        return principal

    async def writer(self, request: web.Request) -> Principal:
        """The caller, if they may change the `{entity}` in the path.

        Raises a 404 if they may not even read it, a 403 if they may not write.
        """
        entity = request.match_info["entity"]
        principal = await self.reader(request, f"entity {entity}")
        if not principal.may_write(entity):
            raise Rejected(
                f"you may not change data of {entity!r}",
                code=ErrorCode.FORBIDDEN,
                hint="Log in on the page, or use an API key with write access.",
            )
        return principal

    def check(self, principal: Principal, entity: str, what: str) -> None:
        """Raises a 404 for `what` if the principal may not read this entity."""
        if not principal.may_read(entity):
            raise not_found(what)

    def is_open(self, request: web.Request) -> bool:
        """Whether this request may read without a login.

        The Host header is checked because another site can point its own name at 127.0.0.1; the other
        headers, because a proxy on this machine forwards requests of strangers.
        """
        if not self._open_reads or any(name in request.headers for name in _FORWARDED):
            return False
        host = request.headers.get("Host", "").lower()
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        return name in _LOOPBACK
