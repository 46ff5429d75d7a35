"""Serves the page: built files with strict headers.

Files in `assets/` have a hash in their names and may be cached forever; `index.html` refers to them
and is revalidated at every load. All URLs are relative, so the page works under any path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.routes import Routes

__all__ = ["SECURITY_HEADERS", "add_pages"]

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_FOR_EVER = "public, max-age=31536000, immutable"


def add_pages(app: web.Application, static: Path) -> None:
    """Serve `index.html` at / and /authorize, and the other current files."""
    routes = Routes(app)
    for path in sorted(static.rglob("*")):
        name = path.relative_to(static).as_posix()
        if path.is_file() and name != "index.html":
            is_hashed = name.startswith("assets/")
            routes.get(f"/{name}", _file(path, _FOR_EVER if is_hashed else "no-cache"))
    for address in ("/", "/authorize"):
        routes.get(address, _index(static / "index.html"))


def _file(path: Path, cache_control: str) -> Handler:
    async def get(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path, headers={**SECURITY_HEADERS, "Cache-Control": cache_control})

    return get


def _index(path: Path) -> Handler:
    async def get(_: web.Request) -> web.StreamResponse:
        if not path.is_file():
            raise Rejected(
                "this installation does not include the page; the API works", code=ErrorCode.NO_PAGE
            )
        return web.FileResponse(path, headers={**SECURITY_HEADERS, "Cache-Control": "no-cache"})

    return get
