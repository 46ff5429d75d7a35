"""Which project a body is for, read from its first bytes: enough to refuse it without receiving and decoding the rest."""

from __future__ import annotations

import msgpack
import zstandard

from penstock.wire import DEFAULT_LIMITS, Limits, is_compressed

__all__ = ["PEEK_BYTES", "project_of", "project_of_body"]

PEEK_BYTES = 1_024
"""Clients write a batch's names before its data; what comes later is found when the batch is decoded."""
_LENGTH_BYTES = 4
_MIN_COMPRESSED_BYTES = 256 * 1024
"""The first block of a smaller one takes as long as all of it."""


def project_of_body(first: bytes) -> str | None:
    """The project of the first batch of a body that begins so; None if that does not tell."""
    raw = first[_LENGTH_BYTES : _LENGTH_BYTES + PEEK_BYTES]
    return None if is_compressed(raw) else _project_in(raw)


def project_of(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """The project of an encoded batch; None if its first bytes do not tell, or if decoding it is as fast."""
    if not is_compressed(raw):
        return _project_in(raw[:PEEK_BYTES])
    return _project_in(_expanded(raw, limits)) if len(raw) >= _MIN_COMPRESSED_BYTES else None


def _expanded(raw: bytes, limits: Limits) -> bytes:
    """The first bytes of a compressed batch: decompresses one block of at most 128 KiB."""
    try:
        if zstandard.get_frame_parameters(raw).window_size > limits.window_bytes:
            return b""
        with zstandard.ZstdDecompressor(max_window_size=limits.window_bytes).stream_reader(
            raw
        ) as reader:
            return reader.read(PEEK_BYTES)
    except zstandard.ZstdError:
        return b""


def _project_in(head: bytes) -> str | None:
    unpacker = msgpack.Unpacker(max_buffer_size=PEEK_BYTES, strict_map_key=False)
    unpacker.feed(head)
    try:
        for _ in range(unpacker.read_map_header()):
            if unpacker.unpack() == "project":
                project = unpacker.unpack()
                return project if isinstance(project, str) else None
            unpacker.skip()
    except (msgpack.UnpackException, ValueError, TypeError, RecursionError):
        pass  # too short, or damaged: decoding it says so
    return None
