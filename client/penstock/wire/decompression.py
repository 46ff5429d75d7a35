"""Decodes zstd frames that strangers send, within the limits.

Only servers do that, thousands of times a second, and only they install `zstandard`: its decoder can be used
again, which makes it ten times as fast for a small frame as a new one; it is too large for an environment in which
models are trained.
"""

from __future__ import annotations

import threading

import zstandard

from penstock.error_codes import ErrorCode
from penstock.wire.limits import Limits, bad, too_large

__all__ = ["declared_bytes", "decompress_frame"]

_BELIEVED_BYTES = 2**20
"""A frame that declares more than this is measured before memory is allocated for it."""
_PIECE_BYTES = 128 * 1024
_decoders = threading.local()


def decompress_frame(raw: bytes, limits: Limits) -> bytes:
    """The content of a frame. Raises `Rejected` if it is damaged, or exceeds what `limits` allow."""
    allowed = limits.decoded_bytes
    try:
        claimed = declared_bytes(raw)
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


def declared_bytes(raw: bytes) -> int | None:
    """The length of the content as the frame declares it; None if it declares none, or its header is damaged."""
    try:
        declared: int = zstandard.frame_content_size(raw)
    except zstandard.ZstdError:
        return None
    return None if declared < 0 else declared


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
