"""Bytes around batches: lengths in a body, and zstd frames. Nothing grows past the limits."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

import zstandard

from penstock.wire.limits import DEFAULT_LIMITS, Limits, bad, too_large

__all__ = ["batch_digest", "decompress", "join_batches", "split_body"]

_LENGTH = struct.Struct("<I")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_FRAMING_HINT = (
    "A body is batches one after another, each behind its length as a little-endian u32."
)


def join_batches(batches: Iterable[bytes]) -> bytes:
    """A request body: each batch behind its length."""
    parts: list[bytes] = []
    for raw in batches:
        parts += (_LENGTH.pack(len(raw)), raw)
    return b"".join(parts)


def split_body(body: bytes, limits: Limits = DEFAULT_LIMITS) -> list[bytes]:
    """The encoded batches of a request body, in order.

    Raises `Rejected` if a length runs past the end, or the body is empty or too long.
    """
    if len(body) > limits.body_bytes:
        raise too_large("body_too_large", len(body), limits.body_bytes, "bytes in the body")
    return list(_batches_in(body, limits))


def _batches_in(body: bytes, limits: Limits) -> Iterator[bytes]:
    offset, count = 0, 0
    while offset < len(body) or count == 0:
        if offset + 4 > len(body):
            raise bad("bad_framing", "the body ends inside a batch's length", _FRAMING_HINT)
        (length,) = _LENGTH.unpack_from(body, offset)
        offset += 4
        if length == 0 or offset + length > len(body):
            raise bad(
                "bad_framing",
                f"a batch claims {length} bytes, {len(body) - offset} are left in the body",
                _FRAMING_HINT,
            )
        count += 1
        if count > limits.batches:
            raise too_large("too_many_batches", count, limits.batches, "batches in the body")
        yield body[offset : offset + length]
        offset += length


def batch_digest(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> str:
    """32 hex digits that name a batch's content, however it was compressed."""
    return hashlib.blake2b(decompress(raw, limits), digest_size=16).hexdigest()


def decompress(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The msgpack bytes of an encoded batch, whether it was compressed or not.

    Never holds more than `limits.decoded_bytes`, whatever the frame's header claims.
    """
    if raw[:4] != _ZSTD_MAGIC:
        return raw
    allowed = min(limits.decoded_bytes, len(raw) * limits.compression_ratio)
    decoder = zstandard.ZstdDecompressor()
    try:
        claimed = zstandard.frame_content_size(raw)
        if claimed < 0:  # not declared: counted, because four bytes can stand for 128 KiB
            claimed = len(decoder.stream_reader(raw).read(allowed + 1))
        if claimed > allowed:
            raise too_large("batch_too_large", claimed, allowed, "bytes after decompression")
        return decoder.decompress(raw, max_output_size=claimed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        reason = f"the zstd frame is damaged, cut short or has bytes after it: {error}"
        raise bad("bad_compression", reason) from None
