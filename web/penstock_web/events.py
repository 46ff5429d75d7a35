"""`GET …/events`: a project's news as server-sent events, at most four times a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient
from penstock_web.access import Access
from penstock_web.live import LiveFeed, News, Watcher
from penstock_web.names import Names

__all__ = ["EventHandler"]

_INTERVAL_S = 0.25
_HEARTBEAT_S = 15.0
_MAX_WATCHERS = 2_000
_LIFETIME_S = 3_600.0
"""After this the browser reconnects by itself, and access is checked again."""


class EventHandler:
    """Streams events to browsers."""

    def __init__(self, feed: LiveFeed, access: Access, names: Names) -> None:
        self._feed = feed
        self._access = access
        self._names = names

    async def get(self, request: web.Request) -> web.StreamResponse:
        entity, project = request.match_info["entity"], request.match_info["project"]
        await self._access.reader(request, f"project {entity}/{project}")
        await self._names.project(entity, project)
        if self._feed.watchers >= _MAX_WATCHERS:
            raise Transient(
                "too many pages are open on this server",
                code=ErrorCode.UNAVAILABLE,
                retry_after_s=10,
            )
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
            }
        )
        with self._feed.watching(entity, project) as watcher:
            await response.prepare(request)
            await response.write(b"retry: 1000\n\n")
            await _stream(response, watcher, lambda: self._may_still_read(request))
        return response

    async def _may_still_read(self, request: web.Request) -> bool:
        """Whether the session or key is still valid: it may be revoked during the stream."""
        try:
            await self._access.reader(request, "project")
        except Rejected:
            return False
        except Transient:  # the catalog does not respond; no revocation is known
            return True
        return True


async def _stream(
    response: web.StreamResponse, watcher: Watcher, may_go_on: Callable[[], Awaitable[bool]]
) -> None:
    number = 1
    # The page knows the first number before it can miss anything.
    await response.write(_event(number, News()))
    ends_at = time.monotonic() + _LIFETIME_S
    while time.monotonic() < ends_at:
        news = await watcher.take(_HEARTBEAT_S)
        if watcher.is_closed or not await may_go_on():
            return
        if news is None:
            await response.write(b": still here\n\n")
            continue
        # A skipped number tells the page that it missed something.
        number += 2 if news.is_gap else 1
        await response.write(_event(number, news))
        await asyncio.sleep(_INTERVAL_S)


def _event(number: int, news: News) -> bytes:
    data: dict[str, Any] = {"n": number, "runs": news.runs}
    if news.changed:
        data["changed"] = sorted(news.changed)
    if news.deleted:
        data["deleted"] = sorted(news.deleted)
    return b"id: %d\ndata: %b\n\n" % (number, orjson.dumps(data))
