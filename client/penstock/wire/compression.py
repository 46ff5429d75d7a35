"""zstd as clients need it: compressing, and reading back files of their own. What strangers send is decoded by
`penstock.wire.decompression`, which servers alone need."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["compress", "expand"]

_MAGIC = b"\x28\xb5\x2f\xfd"


def compress(content: bytes, level: int = zstd.COMPRESSION_LEVEL_DEFAULT) -> bytes:
    """One zstd frame."""
    return zstd.compress(content, level)


def expand(content: bytes) -> bytes:
    """The content of a zstd frame; anything else as it is. Raises `ValueError` if the frame is damaged."""
    if content[:4] != _MAGIC:
        return content
    try:
        return zstd.decompress(content)
    except zstd.ZstdError as error:
        raise ValueError(f"a zstd frame is damaged or truncated: {error}") from None
