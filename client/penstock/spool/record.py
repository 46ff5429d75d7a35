"""The spool's file format, written by the writer and read by the shipper; defined only here.

A segment file is a header and then records, each at a multiple of 8 bytes:

    [u32 length][u32 crc32][payload: kind u8, 3 x 0, shape u32, step i64, time i64 ns, msgpack body]

All little-endian. The length is written last and a reader trusts only the CRC, so a record is either
complete or absent. A ROW holds only values; its keys are in the SHAPE record with the same number,
written before its first row in every segment, so that each segment can be read on its own.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

__all__ = [
    "FIRST_OFFSET",
    "PAYLOAD_HEAD",
    "RECORD_HEAD",
    "PayloadKind",
    "Position",
    "aligned",
    "read_segment_header",
    "segment_header",
    "segment_name",
]

RECORD_HEAD = struct.Struct("<II")
PAYLOAD_HEAD = struct.Struct("<BxxxIqq")
_SEGMENT_HEADER = struct.Struct("<8sIIQ8x")
_MAGIC = b"PENSTOCK"
_VERSION = 1
FIRST_OFFSET = _SEGMENT_HEADER.size


class PayloadKind(IntEnum):
    """The kind of a payload's body."""

    SHAPE = 1
    """A list of keys; rows refer to its number, `shape`."""
    ROW = 2
    """A list of values, one per key of its shape."""
    RECORD = 3
    """A map that goes into a batch's `records` unchanged."""
    END = 4
    """Empty; the writer closed its spool properly and no record follows. The head's step is the
    number of dropped rows."""


class Position(NamedTuple):
    """A position in a spool: the segment's number and the byte offset in it."""

    segment: int
    offset: int


def aligned(offset: int) -> int:
    """The first aligned position for a record at or after `offset`."""
    return (offset + 7) & -8


def segment_name(sequence: int) -> str:
    return f"{sequence:08d}.seg"


def segment_header(sequence: int, created_ns: int) -> bytes:
    return _SEGMENT_HEADER.pack(_MAGIC, _VERSION, sequence, created_ns)


def read_segment_header(data: bytes) -> int | None:
    """The segment's number, or None if these bytes do not start a segment of a known version."""
    if len(data) < FIRST_OFFSET:
        return None
    magic, version, sequence, _ = _SEGMENT_HEADER.unpack_from(data)
    return int(sequence) if magic == _MAGIC and version == _VERSION else None
