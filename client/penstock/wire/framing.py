"""Framing of batches: lengths in a body, and whether a batch is compressed, within the limits."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

from penstock.error_codes import ErrorCode
from penstock.wire.limits import DEFAULT_LIMITS, Limits, bad, too_large

__all__ = [
    "batch_digest",
    "claimed_bytes",
    "decompress",
    "is_compressed",
    "join_batches",
    "split_body",
]

_LENGTH = struct.Struct("<I")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def join_batches(batches: Iterable[bytes]) -> bytes:
    """A request body: each batch preceded by its length."""
    parts: list[bytes] = []
    for raw in batches:
        parts += (_LENGTH.pack(len(raw)), raw)
    return b"".join(parts)


def split_body(body: bytes, limits: Limits = DEFAULT_LIMITS) -> list[bytes]:
    """The encoded batches of a request body, in order.

    Raises `Rejected` if a length runs past the end, or the body is empty or too long.
    """
    if len(body) > limits.body_bytes:
        raise too_large(ErrorCode.BODY_TOO_LARGE, len(body), limits.body_bytes, "bytes in the body")
    return list(_batches_in(body, limits))


def _batches_in(body: bytes, limits: Limits) -> Iterator[bytes]:
    offset, count = 0, 0
    while offset < len(body) or count == 0:
        if offset + 4 > len(body):
            raise bad(ErrorCode.BAD_FRAMING, "the body ends inside a batch's length")
        (length,) = _LENGTH.unpack_from(body, offset)
        offset += 4
        if length == 0 or offset + length > len(body):
            raise bad(
                ErrorCode.BAD_FRAMING,
                f"a batch claims {length} bytes, {len(body) - offset} are left in the body",
            )
        count += 1
        if count > limits.batches:
            raise too_large(
                ErrorCode.TOO_MANY_BATCHES, count, limits.batches, "batches in the body"
            )
        yield body[offset : offset + length]
        offset += length


def batch_digest(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> str:
    """32 hex digits that identify a batch's content, however it is compressed; used to deduplicate retries."""
    return hashlib.blake2b(decompress(raw, limits), digest_size=16).hexdigest()


def decompress(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The msgpack bytes of an encoded batch, compressed or not.

    Never allocates more than `limits.decoded_bytes`, nor what a frame only claims.
    """
    if is_compressed(raw):
        # What it needs is installed with servers only.
        from penstock.wire.decompression import decompress_frame  # noqa: PLC0415

        return decompress_frame(raw, limits)
    if len(raw) > limits.decoded_bytes:
        raise too_large(ErrorCode.BATCH_TOO_LARGE, len(raw), limits.decoded_bytes, "bytes")
    return raw


def is_compressed(raw: bytes) -> bool:
    """Whether a batch is a zstd frame."""
    return raw[:4] == _ZSTD_MAGIC


def claimed_bytes(raw: bytes) -> int | None:
    """A batch's declared length after decompression; None if it declares none."""
    if not is_compressed(raw):
        return len(raw)
    from penstock.wire.decompression import declared_bytes  # noqa: PLC0415

    return declared_bytes(raw)
