"""Cross-site request forgery: with a browser's credentials, only this server's own pages may change anything.

A browser adds its cookies, and Basic authentication, also to requests from other sites' pages. It
states the origin of a request: in `Sec-Fetch-Site`, which it omits over plain HTTP, and in `Origin`. A
request without either comes from no page. Since a body must be `application/json`, a browser would
have to ask for permission first (CORS), which is never granted.

Bearer keys are exempt: no browser sends them by itself. So are signed addresses, which ignore cookies.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.proxies import proxies_of

__all__ = ["SESSION_COOKIE", "refuse_other_origins", "require_json", "session_cookies"]

SESSION_COOKIE = "penstock_session"
_ORIGIN = re.compile(r"(https?)://(\[[\da-f:.]+\]|[^\s\[\]:/?#@\\]+)(?::(\d{1,5}))?", re.I | re.A)
_REFERER = re.compile(r"[a-z]+://[^/?#]*", re.I | re.A)
_JSON = re.compile(r"application/json\s*(;.*)?", re.I | re.A)
_PORTS = {"http": 80, "https": 443}
_OWN_SITE = ("same-origin", "none")
_MAX_COOKIES = 4
_COOKIE = re.compile(rf"(?:^|;)\s*{SESSION_COOKIE}=([\w.-]{{1,200}})\s*(?=;|$)", re.A)


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int


def session_cookies(request: web.Request) -> list[str]:
    """The values of the session cookie, a few at most: pages on other ports and paths of this host can set
    a cookie of the same name, and other cookies may contain anything."""
    found: list[str] = []
    for header in request.headers.getall("Cookie", ()):
        found += _COOKIE.findall(header)
    return found[:_MAX_COOKIES]


def refuse_other_origins(request: web.Request) -> None:
    """Raises `Rejected` (403) if a page of another origin may have sent this, (415) if it has a session
    and a body that is not JSON."""
    given = request.headers.get("Authorization", "")
    if given.startswith("Bearer "):  # as all clients write it
        return
    scheme = given.partition(" ")[0].lower()
    if scheme == "bearer":
        return
    if not _is_own(request):
        raise Rejected("only a page of this server may do that", code=ErrorCode.CROSS_SITE)
    if not scheme and request.body_exists and session_cookies(request):
        require_json(request)


def require_json(request: web.Request) -> None:
    """Raises `Rejected` (415) unless the body is declared as JSON. Browsers send other types to any site
    without asking first."""
    types = request.headers.getall("Content-Type", ())
    if len(types) != 1 or not _JSON.fullmatch(types[0].strip()):
        raise Rejected("the body must be application/json", code=ErrorCode.NOT_JSON)


def _is_own(request: web.Request) -> bool:
    headers = request.headers
    if sites := headers.getall("Sec-Fetch-Site", ()):
        return all(site in _OWN_SITE for site in sites)
    given = headers.getall("Origin", ())
    if not given:
        given = [match[0] if (match := _REFERER.match(text)) else text
                 for text in headers.getall("Referer", ())]  # fmt: skip
    if not given:
        return True
    proxies = proxies_of(request)
    asked = _origin(f"{proxies.scheme(request)}://{proxies.host(request)}")
    return asked is not None and all(_origin(text) == asked for text in given)


def _origin(text: str) -> _Origin | None:
    """Scheme, host and port, normalized; None for `null` and anything else that is not an origin."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme, host = match[1].lower(), match[2].lower()
    if host.startswith("["):
        try:
            host = ipaddress.IPv6Address(host[1:-1]).compressed
        except ValueError:
            return None
    return _Origin(scheme, host, int(match[3]) if match[3] else _PORTS[scheme])
