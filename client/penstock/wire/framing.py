"""Framing of batches: lengths in a body, and zstd frames, within the limits."""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Iterable, Iterator

import zstandard

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
_BELIEVED_BYTES = 2**20
"""A frame that declares more than this is measured before memory is allocated for it."""
_decoders = threading.local()
_PIECE_BYTES = 128 * 1024


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
    allowed = limits.decoded_bytes
    if raw[:4] != _ZSTD_MAGIC:
        if len(raw) > allowed:
            raise too_large(ErrorCode.BATCH_TOO_LARGE, len(raw), allowed, "bytes")
        return raw
    try:
        claimed = claimed_bytes(raw)
        if claimed is not None and claimed > allowed:
            raise too_large(
                ErrorCode.BATCH_TOO_LARGE, claimed, allowed, "bytes after decompression"
            )
        window = zstandard.get_frame_parameters(raw).window_size
        if window > limits.window_bytes:
            raise too_large(
                ErrorCode.WINDOW_TOO_LARGE, window, limits.window_bytes, "bytes of window"
            )
        decoder = _decoder(limits.window_bytes)
        if claimed is None or claimed > _BELIEVED_BYTES:
            claimed = _counted(decoder, raw, allowed)
        return decoder.decompress(raw, max_output_size=claimed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        reason = f"the zstd frame is damaged, truncated or followed by other bytes: {error}"
        raise bad(ErrorCode.BAD_COMPRESSION, reason) from None


def is_compressed(raw: bytes) -> bool:
    """Whether a batch is a zstd frame."""
    return raw[:4] == _ZSTD_MAGIC


def claimed_bytes(raw: bytes) -> int | None:
    """A batch's declared length after decompression; None if it declares none."""
    if raw[:4] != _ZSTD_MAGIC:
        return len(raw)
    try:
        claimed: int = zstandard.frame_content_size(raw)
    except zstandard.ZstdError:  # its header is damaged
        return None
    return None if claimed < 0 else claimed


def _decoder(window_bytes: int) -> zstandard.ZstdDecompressor:
    """One per thread: creating it takes longer than decoding a small frame."""
    decoder: zstandard.ZstdDecompressor | None = getattr(_decoders, str(window_bytes), None)
    if decoder is None:
        decoder = zstandard.ZstdDecompressor(max_window_size=window_bytes)
        setattr(_decoders, str(window_bytes), decoder)
    return decoder


def _counted(decoder: zstandard.ZstdDecompressor, raw: bytes, allowed: int) -> int:
    """The length of a frame's content, without keeping it in memory."""
    size = 0
    with decoder.stream_reader(raw, read_size=_PIECE_BYTES) as reader:
        while piece := reader.read(_PIECE_BYTES):
            size += len(piece)
            if size > allowed:
                raise too_large(
                    ErrorCode.BATCH_TOO_LARGE, size, allowed, "bytes after decompression"
                )
    return size
