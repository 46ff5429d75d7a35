"""Streamed answers: complete, or visibly cut off."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from aiohttp import web

from penstock.errors import PenstockError

__all__ = ["send_stream"]

_LOG = logging.getLogger(__name__)


async def send_stream(
    request: web.Request, response: web.StreamResponse, chunks: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Write all chunks. Errors before the first one still get their own status."""
    first = await anext(chunks, b"")
    await response.prepare(request)
    await response.write(first)
    try:
        async for chunk in chunks:
            await response.write(chunk)
    except PenstockError as error:
        # Break the connection: a stream that ends normally would look complete.
        _LOG.warning("stream_broke_off route=%s error=%s", _route(request), error)
        if request.transport is not None:
            request.transport.abort()
    return response


def _route(request: web.Request) -> str:
    """The route's pattern, not the path: logs contain no names from users."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
