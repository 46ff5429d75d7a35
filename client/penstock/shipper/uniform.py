"""Which consecutive records of a spool are valid and look alike, so that they can be read as one block."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np

from penstock.spool.record import PAYLOAD_HEAD, RECORD_HEAD, PayloadKind

__all__ = ["Passed", "are_alike", "count_alike", "is_right", "turns_alike"]

_HEAD = RECORD_HEAD.size
_BODY = _HEAD + PAYLOAD_HEAD.size
_ALIKE = 4
"""This many consecutive rows of one shape are read together."""
_peek = struct.Struct("<IxxxxBxxxI").unpack_from
"""The length, kind and shape of a record."""


class Passed(NamedTuple):
    """A row that was read on its own."""

    offset: int
    length: int
    shape: int


def is_right(view: memoryview, offset: int) -> bool:
    """Whether a complete record with a valid checksum starts at `offset`."""
    if offset + _BODY > len(view):
        return False
    length, checksum = RECORD_HEAD.unpack_from(view, offset)
    end = offset + _HEAD + length
    if length < PAYLOAD_HEAD.size or end > len(view):
        return False
    return zlib.crc32(view[offset + _HEAD : end]) == int(checksum)


def are_alike(view: memoryview, offset: int, stride: int, length: int, shape: int) -> bool:
    """Whether some records from `offset` on have the same head."""
    if offset + _ALIKE * stride > len(view):
        return False
    head = (length, PayloadKind.ROW, shape)
    return all(_peek(view, offset + turn * stride) == head for turn in range(1, _ALIKE))


def turns_alike(
    view: memoryview, offset: int, stride: int, most: int, turn: list[Passed], starts: list[int]
) -> int:
    """How many cycles from `offset` on are valid and look like the last one."""
    if most < 2:
        return 0
    rows = np.frombuffer(view, np.uint8, most * stride, offset).reshape(most, stride)
    count = most
    for start, each in zip(starts, turn, strict=True):
        heads = np.ascontiguousarray(rows[:count, start : start + 16]).view("<u4")
        kind = heads[:, 2] & 0xFF
        same = (
            (heads[:, 0] == each.length) & (kind == PayloadKind.ROW) & (heads[:, 3] == each.shape)
        )
        count = count if same.all() else int(same.argmin())
        if count < 2:
            return 0
    crc32 = zlib.crc32
    for start, each in zip(starts, turn, strict=True):
        checksums = np.ascontiguousarray(rows[:count, start + 4 : start + 8]).view("<u4")[:, 0]
        at = offset + start + _HEAD
        for index, checksum in enumerate(checksums.tolist()):
            if crc32(view[at : at + each.length]) != checksum:
                count = index
                break
            at += stride
    return count


def count_alike(view: memoryview, offset: int, stride: int, most: int) -> int:
    """How many records from `offset` on are valid and have the first one's length, kind and
    shape."""
    most = min(most, (len(view) - offset) // stride)
    if most <= 1:
        return 1
    rows = np.frombuffer(view, np.uint8, most * stride, offset).reshape(most, stride)
    heads = np.ascontiguousarray(rows[:, :16]).view("<u4")
    same = (
        (heads[:, 0] == heads[0, 0]) & (heads[:, 2] == heads[0, 2]) & (heads[:, 3] == heads[0, 3])
    )
    count = most if same.all() else int(same.argmin())
    crc32, length = zlib.crc32, int(heads[0, 0])
    starts = range(offset + _HEAD, offset + _HEAD + count * stride, stride)
    for index, (start, checksum) in enumerate(zip(starts, heads[:, 1].tolist(), strict=False)):
        if crc32(view[start : start + length]) != checksum:
            return index
    return count
