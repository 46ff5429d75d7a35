"""The decoded size of a batch, for entries of an older gateway, which did not record it."""

from __future__ import annotations

import zstandard

from penstock.wire import DEFAULT_LIMITS

__all__ = ["decoded_bytes"]

_MAGIC = b"\x28\xb5\x2f\xfd"
_STEP = 2**20


def decoded_bytes(raw: bytes, most: int = DEFAULT_LIMITS.decoded_bytes) -> int:
    """Bytes of this batch after decompression; `most` or more if it is larger or not valid zstd.

    Most frames state it in their header. Others are decompressed and counted, not kept.
    """
    if raw[:4] != _MAGIC:
        return len(raw)
    try:
        size = zstandard.frame_content_size(raw)
        return size if size >= 0 else _counted(raw, most)
    except zstandard.ZstdError:
        return most


def _counted(raw: bytes, most: int) -> int:
    reader = zstandard.ZstdDecompressor().stream_reader(raw)
    size = 0
    while size <= most and (part := reader.read(_STEP)):
        size += len(part)
    return size
