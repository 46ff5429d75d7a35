"""Decoding bodies: bounded in what is decoded at once, off the event loop where it takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

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
"""What an entry of a list or map takes as a Python object, about."""


class Decoding:
    """What the requests of one process hold decoded: at most `in_flight_bytes`, and what those
    being decoded now turn out to take.

    Each request has a `Share`, from which it decodes and which it gives back when it ends.
    """

    def __init__(self, limits: Limits, in_flight_bytes: int) -> None:
        self.limits = limits
        self.held_bytes = 0
        self.allowed = in_flight_bytes
        self.turns = asyncio.Semaphore(_MAX_THREADS)

    def share(self) -> Share:
        return Share(self)


class Share:
    """What one request holds: nothing at first, nothing after its `with` block."""

    __slots__ = ("_all", "_held")

    def __init__(self, everyone: Decoding) -> None:
        self._all = everyone
        self._held = 0

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        self._all.held_bytes -= self._held

    async def batches(self, raws: list[bytes]) -> list[Batch]:
        """The checked batches of a body.

        Raises `Rejected` for a batch that breaks a limit, `Transient` (503) while too much is held.
        """
        limits = self._all.limits
        if len(raws) == 1 and len(raws[0]) <= _MAX_INLINE_BYTES and not is_compressed(raws[0]):
            # Nearly all are such, and take no longer to decode than to tell how to.
            batch = decode_batch(raws[0], limits)
            self._take(_weight(batch.decoded))
            return [batch]
        claims = [claimed_bytes(raw) for raw in raws]
        # One that does not say how long it is may be as long as any.
        size = sum(limits.decoded_bytes if claim is None else claim for claim in claims)
        self._take(min(size, limits.decoded_bytes))
        if size > _MAX_INLINE_BYTES:
            batches = await self.aside(decode_batches, raws, limits)
        else:
            batches = decode_batches(raws, limits)
        self.holds(*(batch.decoded for batch in batches))
        return batches

    def reserve(self, size: DecodedSize) -> None:
        """Set room aside for what will be made. Raises `Transient` (503) while too much is held."""
        self._take(_weight(size))

    def holds(self, *sizes: DecodedSize) -> None:
        """This is what the request holds from now on, whatever was set aside for it."""
        weight = sum(map(_weight, sizes))
        self._all.held_bytes += weight - self._held
        self._held = weight

    async def aside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do slow work in a thread; a few at a time, since each may take memory."""
        async with self._all.turns:
            return await asyncio.to_thread(work, *args, **kwargs)

    def _take(self, size: int) -> None:
        # The largest request is let in where nothing else is held, however little is allowed.
        if self._all.held_bytes and self._all.held_bytes + size > self._all.allowed:
            raise Transient("too much is being decoded", code="overloaded")
        self._held += size
        self._all.held_bytes += size


def _weight(size: DecodedSize) -> int:
    return size.bytes + _ELEMENT_BYTES * size.elements
