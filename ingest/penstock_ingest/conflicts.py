"""Dedupe with another content: of two batches under one number the first stays, the other conflicts.

Only repeats come here. The same batch may be compressed differently, so the decompressed bytes count:
those of a queued batch are compared directly, those of a committed one by their digest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from penstock.wire import Limits, batch_digest, decompress

__all__ = ["differs_from_committed", "differs_from_queued"]

_DIGEST_DIGITS = 16
_MIN_THREAD_BYTES = 64 * 1024


async def differs_from_queued(raw: bytes, queued: bytes, limits: Limits) -> bool:
    """Whether two encoded batches hold different bytes."""

    def differ() -> bool:
        return decompress(raw, limits) != decompress(queued, limits)

    return await _answer(differ, len(raw) + len(queued))


async def differs_from_committed(seq: int, raw: bytes, digests: bytes, limits: Limits) -> bool:
    """Whether a batch differs from the committed one of its number.

    `digests` is `seq=hex16;seq=hex16;…`; a number that is not in it counts as equal.
    """
    known = dict(pair.split("=", 1) for pair in digests.decode().split(";") if "=" in pair)
    digest = known.get(str(seq))
    if digest is None:
        return False

    def differs() -> bool:
        return batch_digest(raw, limits)[:_DIGEST_DIGITS] != digest

    return await _answer(differs, len(raw))


async def _answer(question: Callable[[], bool], size: int) -> bool:
    """The answer; computed in a thread if it would hold up other requests."""
    return await asyncio.to_thread(question) if size > _MIN_THREAD_BYTES else question()
