"""Reads request bodies, with limits on bytes and time; too large ones are refused before anything is
read. Nothing else in the servers may touch a request's body, and handlers check the caller's key
before they read one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient
from penstock.wire import DEFAULT_LIMITS, too_large
from penstock_common.process.metrics import GatewayMetrics

__all__ = ["BODIES", "STRANGERS", "BodyReader", "body_chunks", "strangers"]

_MIN_BYTES_PER_S = 128 * 1024
_ANSWER_LEAVES_S = 0.5
_MAX_ANONYMOUS_BYTES = 64 * 1024
_MAX_ANONYMOUS_IN_FLIGHT_BYTES = 16 * 2**20
_ANONYMOUS_TIMEOUT_S = 5.0
_PROGRESS_BYTES = 64 * 1024
_PROGRESS_S = 60.0


class BodyReader:
    """Reads bodies of at most `max_bytes`, holding at most `in_flight_bytes` at once, and half of that for one owner:
    many large bodies that arrive slowly must not keep out everyone else.

    `encodings`: the accepted values of `Content-Encoding`; aiohttp decodes them.
    """

    def __init__(
        self,
        *,
        in_flight_bytes: int,
        timeout_s: float,
        max_bytes: int = DEFAULT_LIMITS.body_bytes,
        metrics: GatewayMetrics | None = None,
        encodings: Collection[str] = ("identity",),
    ) -> None:
        self.max_bytes = max_bytes
        self.encodings = encodings
        self.timeout_s = timeout_s
        self.held_bytes = 0
        self._in_flight_bytes = in_flight_bytes
        self._held_by: dict[str, int] = {}
        if metrics is not None:
            metrics.body_bytes.set_function(lambda: self.held_bytes)

    def body(
        self,
        request: web.Request,
        max_bytes: int | None = None,
        *,
        owner: str = "",
        look: Callable[[bytes], None] | None = None,
    ) -> _Body:
        """The whole body, for a `with` block at whose end it no longer counts as held.

        `owner` is the public id of the caller's key.

        `look` gets what has arrived of a body that is still on its way, once; what it raises refuses the request
        without receiving the rest.

        Entering it raises `Rejected` (413, 415, 408) if the body is larger than `max_bytes`,
        encoded, or slower than the deadline of `timeout_s` plus a second per 128 KiB; `Transient`
        (503) while too much is in flight.
        """
        most = self.max_bytes if max_bytes is None else min(max_bytes, self.max_bytes)
        return _Body(self, request, most, owner, look)

    def hold(self, size: int, owner: str = "") -> None:
        """Count `size` more bytes as held. Raises `Transient` (503) if that is too much."""
        if self.held_bytes + size > self._in_flight_bytes:
            raise Transient("too many bodies are in flight", code=ErrorCode.OVERLOADED)
        if owner and size:
            held = self._held_by.get(owner, 0)
            if held and held + size > self._in_flight_bytes // 2:
                raise Transient(
                    "too many bodies of this key are in flight", code=ErrorCode.OVERLOADED
                )
            self._held_by[owner] = held + size
        self.held_bytes += size

    def release(self, size: int, owner: str = "") -> None:
        self.held_bytes -= size
        if owner and size:
            left = self._held_by[owner] - size
            if left:
                self._held_by[owner] = left
            else:
                del self._held_by[owner]


BODIES = web.AppKey("bodies", BodyReader)
"""An application's reader for bodies of authenticated callers."""

STRANGERS = web.AppKey("strangers", BodyReader)
"""An application's reader for bodies that authenticate the caller, such as a login."""


def strangers() -> BodyReader:
    """A reader for callers that are not authenticated yet: small bodies, little time, and a separate
    budget, so that they cannot use up that of the others."""
    return BodyReader(
        max_bytes=_MAX_ANONYMOUS_BYTES,
        in_flight_bytes=_MAX_ANONYMOUS_IN_FLIGHT_BYTES,
        timeout_s=_ANONYMOUS_TIMEOUT_S,
    )


class _Body:
    """One request's body while it is held."""

    __slots__ = ("_held", "_look", "_most", "_owner", "_reader", "_request")

    def __init__(
        self,
        reader: BodyReader,
        request: web.Request,
        most: int,
        owner: str,
        look: Callable[[bytes], None] | None,
    ) -> None:
        self._reader = reader
        self._request = request
        self._most = most
        self._owner = owner
        self._look = look
        self._held = 0

    async def __aenter__(self) -> bytes:
        claimed = self._claim()
        try:
            self._hold(claimed)
            if self._request.content.is_eof():  # it arrived with the head: nothing to wait for
                body = self._request.content.read_nowait()
                self._check(len(body))
                return body
            async with asyncio.timeout(self._deadline_s(claimed or self._most)):
                return await self._read()
        except TimeoutError:
            self._release()
            _close_soon(self._request)
            raise Rejected(
                "the body did not arrive in time",
                code=ErrorCode.BODY_TIMEOUT,
                hint="Nothing was queued; send it again.",
            ) from None
        except web.RequestPayloadError as error:
            self._release()
            raise Rejected(f"the body broke off: {error}", code=ErrorCode.BAD_BODY) from None
        except BaseException:
            self._release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _claim(self) -> int:
        """The size of the body according to the head; 0 if it is not given."""
        encoding = self._request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in self._reader.encodings:
            raise Rejected(
                f"Content-Encoding {encoding!r} is not accepted", code=ErrorCode.UNKNOWN_ENCODING
            )
        claimed = self._request.content_length or 0
        if claimed > self._most:
            raise too_large(ErrorCode.BODY_TOO_LARGE, claimed, self._most, "bytes in the body")
        return claimed

    async def _read(self) -> bytes:
        """The whole body. Bytes beyond the claimed size count as held as they arrive."""
        content = self._request.content
        chunks: list[bytes] = []
        size = 0
        while chunk := await content.readany():
            size += len(chunk)
            self._check(size)
            if self._look is not None and not chunks:
                self._look(chunk)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _check(self, size: int) -> None:
        """`size` bytes have arrived."""
        if size > self._most:
            raise too_large(ErrorCode.BODY_TOO_LARGE, size, self._most, "bytes in the body")
        if size > self._held:
            self._hold(size - self._held)

    def _deadline_s(self, size: int) -> float:
        return self._reader.timeout_s + size / _MIN_BYTES_PER_S

    def _hold(self, size: int) -> None:
        self._reader.hold(size, self._owner)
        self._held += size

    def _release(self) -> None:
        self._reader.release(self._held, self._owner)
        self._held = 0


async def body_chunks(request: web.Request) -> AsyncIterator[bytes]:
    """A body of any size as it arrives, as long as it makes progress: at least 64 KiB a minute."""
    clock = asyncio.get_running_loop().time
    arrived, patience_s = 0, _PROGRESS_S
    while True:
        started = clock()
        try:
            async with asyncio.timeout(patience_s):
                chunk = await request.content.readany()
        except TimeoutError:
            _close_soon(request)
            raise Rejected("the upload stalled", code=ErrorCode.BODY_TIMEOUT) from None
        except web.RequestPayloadError as error:
            raise Rejected(f"the upload broke off: {error}", code=ErrorCode.BAD_BODY) from None
        if not chunk:
            return
        patience_s -= clock() - started
        arrived += len(chunk)
        if arrived >= _PROGRESS_BYTES:
            arrived, patience_s = 0, _PROGRESS_S
        yield chunk


def _close_soon(request: web.Request) -> None:
    """Close the connection once the reply is sent: aiohttp would wait for the rest of the body."""
    asyncio.get_running_loop().call_later(_ANSWER_LEAVES_S, request.protocol.force_close)
