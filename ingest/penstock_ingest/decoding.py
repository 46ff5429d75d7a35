"""Decoding bodies: with a limit on what is decoded at once, and in a thread where it takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from penstock.error_codes import ErrorCode
from penstock.errors import Transient
from penstock.wire import (
    Batch,
    DecodedSize,
    Limits,
    claimed_bytes,
    decode_batch,
    decode_batches,
    is_compressed,
)

__all__ = ["Decoding"]

P = ParamSpec("P")
T = TypeVar("T")

_MAX_INLINE_BYTES = 256 * 1024
_MAX_THREADS = 4
_ELEMENT_BYTES = 100
"""The approximate size of a list or map entry as a Python object."""


class Decoding:
    """The decoded data of all requests of one process: at most `in_flight_bytes`, plus what the ones
    being decoded turn out to take.

    Each request decodes through a `Share`, which it returns when it ends.
    """

    def __init__(self, limits: Limits, in_flight_bytes: int) -> None:
        self.limits = limits
        self.held_bytes = 0
        self.allowed = in_flight_bytes
        self.turns = asyncio.Semaphore(_MAX_THREADS)

    def share(self) -> Share:
        return Share(self)


class Share:
    """The decoded data of one request: nothing at first, nothing after its `with` block."""

    __slots__ = ("_all", "_held")

    def __init__(self, everyone: Decoding) -> None:
        self._all = everyone
        self._held = 0

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        self._all.held_bytes -= self._held

    def small_batch(self, raws: list[bytes]) -> Batch | None:
        """The checked batch of a body that holds a small one alone; None for any other body.

        Decoding it takes no longer than finding out its size. Raises as `batches` does.
        """
        raw = raws[0]
        if len(raws) != 1 or len(raw) > _MAX_INLINE_BYTES or is_compressed(raw):
            return None
        batch = decode_batch(raw, self._all.limits)
        self._take(_weight(batch.decoded))
        return batch

    async def batches(self, raws: list[bytes]) -> list[Batch]:
        """The checked batches of a body.

        Raises `Rejected` for a batch that breaks a limit, `Transient` (503) while too much is held.
        """
        limits = self._all.limits
        claims = [claimed_bytes(raw) for raw in raws]
        # A batch that does not state its size counts with the largest size.
        size = sum(limits.decoded_bytes if claim is None else claim for claim in claims)
        self._take(min(size, limits.decoded_bytes))
        if size > _MAX_INLINE_BYTES:
            batches = await self.aside(decode_batches, raws, limits)
        else:
            batches = decode_batches(raws, limits)
        self.holds(*(batch.decoded for batch in batches))
        return batches

    def reserve(self, size: DecodedSize) -> None:
        """Reserve memory for data to be decoded. Raises `Transient` (503) while too much is held."""
        self._take(_weight(size))

    def holds(self, *sizes: DecodedSize) -> None:
        """What the request holds from now on, instead of what was reserved."""
        weight = sum(map(_weight, sizes))
        self._all.held_bytes += weight - self._held
        self._held = weight

    async def aside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do slow work in a thread; a few at a time, since each may take memory."""
        async with self._all.turns:
            return await asyncio.to_thread(work, *args, **kwargs)

    def _take(self, size: int) -> None:
        # While nothing else is held, any request is admitted, however little is allowed.
        if self._all.held_bytes and self._all.held_bytes + size > self._all.allowed:
            raise Transient("too much is being decoded", code=ErrorCode.OVERLOADED)
        self._held += size
        self._all.held_bytes += size


def _weight(size: DecodedSize) -> int:
    return size.bytes + _ELEMENT_BYTES * size.elements
