"""Reading a request's body: bounded in bytes and in time, refused before it is read if too large."""

from __future__ import annotations

import asyncio

from aiohttp import web

from penstock.errors import Rejected, Transient
from penstock.wire import Limits, too_large
from penstock_common.metrics import GatewayMetrics

__all__ = ["BodyReader"]

_SLOWEST_BYTES_PER_S = 128 * 1024


class BodyReader:
    """Reads bodies of at most `limits.body_bytes`, holding at most `in_flight_bytes` at once."""

    def __init__(
        self, limits: Limits, *, in_flight_bytes: int, timeout_s: float, metrics: GatewayMetrics
    ) -> None:
        self._limits = limits
        self._allowed = in_flight_bytes
        self._timeout_s = timeout_s
        self._held = 0
        metrics.body_bytes.set_function(lambda: self._held)

    async def read(self, request: web.Request) -> bytes:
        """The whole body.

        Raises `Rejected` (413, 415, 408) if it is too large, encoded, or slower than the deadline
        of `timeout_s` plus a second per 128 KiB; `Transient` (503) while too much is in flight.
        """
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding != "identity":
            raise Rejected(
                f"Content-Encoding {encoding!r} is not accepted",
                code="unknown_encoding",
                status=415,
                hint="Send the body as it is; a batch may be a zstd frame of its own.",
            )
        claimed = request.content_length
        if claimed is not None and claimed > self._limits.body_bytes:
            raise too_large("body_too_large", claimed, self._limits.body_bytes, "bytes in the body")
        reserved = self._limits.body_bytes if claimed is None else claimed
        if self._held + reserved > self._allowed:
            raise Transient("too many bodies are being received", code="overloaded")
        self._held += reserved
        try:
            return await self._receive(request, reserved)
        finally:
            self._held -= reserved

    async def _receive(self, request: web.Request, size: int) -> bytes:
        try:
            if request.content.is_eof():
                return await request.read()  # it came with the head: nothing to wait for
            async with asyncio.timeout(self._timeout_s + size / _SLOWEST_BYTES_PER_S):
                return await request.read()
        except TimeoutError:
            raise Rejected(
                "the body did not arrive in time",
                code="body_timeout",
                status=408,
                hint="Nothing was queued; send it again.",
            ) from None
        except web.HTTPRequestEntityTooLarge:
            allowed = self._limits.body_bytes
            raise too_large("body_too_large", allowed + 1, allowed, "bytes in the body") from None
        except web.RequestPayloadError as error:
            raise Rejected(f"the body broke off: {error}", code="bad_body") from None
