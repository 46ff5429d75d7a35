"""`GET /v1/viewer` and `GET /v1/status`: the caller, and the server's current problems."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version

from aiohttp import web

from penstock_common.http.errors import json_response
from penstock_common.queue.problems import Problem
from penstock_web.access import Access

__all__ = ["SiteHandler"]


class SiteHandler:
    """Answers what the page asks first. `problems` returns the server's current problems."""

    def __init__(
        self, access: Access, problems: Callable[[], Awaitable[Sequence[Problem]]]
    ) -> None:
        self._access = access
        self._problems = problems

    async def viewer(self, request: web.Request) -> web.Response:
        """`GET /v1/viewer`"""
        principal = await self._access.principal(request)
        return json_response(
            {
                "entity": principal.entity,
                "version": version("penstock"),
                "login_required": not self._access.is_open(request),
                "may_write": principal.may_write(principal.entity),
            }
        )

    async def status(self, request: web.Request) -> web.Response:
        """`GET /v1/status`: problems of the server and of the caller's entities."""
        principal = await self._access.principal(request)
        known = await self._problems()
        mine = [each for each in known if not each.entity or principal.may_read(each.entity)]
        return json_response({"problems": [each.to_json() for each in mine]})
