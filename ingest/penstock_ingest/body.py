"""Reading a request's body: bounded in bytes and in time, refused before it is read if too large."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from aiohttp import web

from penstock.errors import Rejected, Transient
from penstock.wire import Limits, too_large
from penstock_common.metrics import GatewayMetrics

__all__ = ["BodyReader"]

_SLOWEST_BYTES_PER_S = 128 * 1024
_ANSWER_LEAVES_S = 0.5


class BodyReader:
    """Reads bodies of at most `limits.body_bytes`, holding at most `in_flight_bytes` at once.

    `encodings` are those of `Content-Encoding` that are accepted; aiohttp undoes them.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        in_flight_bytes: int,
        timeout_s: float,
        metrics: GatewayMetrics | None,
        encodings: Collection[str] = ("identity",),
    ) -> None:
        self._limits = limits
        self._allowed = in_flight_bytes
        self._timeout_s = timeout_s
        self._encodings = encodings
        self.held_bytes = 0
        if metrics is not None:
            metrics.body_bytes.set_function(lambda: self.held_bytes)

    def body(self, request: web.Request) -> _Body:
        """The whole body, for a `with` block at whose end it no longer counts as held.

        Entering it raises `Rejected` (413, 415, 408) if the body is too large, encoded, or slower
        than the deadline of `timeout_s` plus a second per 128 KiB; `Transient` (503) while too much
        is in flight.
        """
        return _Body(self, request)

    def reserve(self, request: web.Request) -> int:
        """Set aside what the head says the body may need; returns how much."""
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in self._encodings:
            raise Rejected(
                f"Content-Encoding {encoding!r} is not accepted",
                code="unknown_encoding",
                status=415,
                hint="Send the body as it is; a batch may be a zstd frame of its own.",
            )
        claimed, allowed = request.content_length, self._limits.body_bytes
        if claimed is not None and claimed > allowed:
            raise too_large("body_too_large", claimed, allowed, "bytes in the body")
        size = allowed if claimed is None else claimed
        if self.held_bytes + size > self._allowed:
            raise Transient("too many bodies are in flight", code="overloaded")
        self.held_bytes += size
        return size

    async def receive(self, request: web.Request, size: int) -> bytes:
        """The bytes, once they are here."""
        try:
            if request.content.is_eof():
                return await request.read()  # it came with the head: nothing to wait for
            async with asyncio.timeout(self._timeout_s + size / _SLOWEST_BYTES_PER_S):
                return await request.read()
        except TimeoutError:
            _close_soon(request)
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


class _Body:
    """One request's body while it is worked with."""

    __slots__ = ("_reader", "_request", "_size")

    def __init__(self, reader: BodyReader, request: web.Request) -> None:
        self._reader = reader
        self._request = request
        self._size = 0

    async def __aenter__(self) -> bytes:
        self._size = self._reader.reserve(self._request)
        try:
            return await self._reader.receive(self._request, self._size)
        except BaseException:
            self._reader.held_bytes -= self._size
            raise

    async def __aexit__(self, *_: object) -> None:
        self._reader.held_bytes -= self._size


def _close_soon(request: web.Request) -> None:
    """End the connection once the answer has left: aiohttp would wait on for the rest of the body."""
    asyncio.get_running_loop().call_later(_ANSWER_LEAVES_S, request.protocol.force_close)
