"""Finds the end of the snapshot with which an append-only file may start.

Redis writes one (an RDB file) when it rewrites its file, unless configured otherwise. Only lengths
are read: values that Redis encodes in its own formats can be skipped as strings.
"""

from __future__ import annotations

from mmap import mmap

__all__ = ["MAGIC", "preamble_end"]

MAGIC = b"REDIS"
_HEADER_BYTES = 9  # REDIS0009
_CHECKSUM_BYTES = 8

_STRING, _LIST, _SET, _ZSET, _HASH, _ZSET_BINARY = 0, 1, 2, 3, 4, 5
_PACKED = {9, 10, 11, 12, 13, 16, 17, 20}
"""Types that are one string: zipmap, ziplists, intset, listpacks."""
_QUICKLIST, _QUICKLIST_2 = 14, 18
_STREAMS = {15: 3, 19: 8, 21: 8}
"""Streams: how many numbers follow their nodes."""
_EOF = 0xFF


def preamble_end(data: bytes | mmap) -> int | None:
    """The offset after the snapshot; None if it is truncated or cannot be parsed."""
    reader = _RdbReader(data, _HEADER_BYTES)
    try:
        while (opcode := reader.byte()) != _EOF:
            _skip(reader, opcode)
    except (IndexError, ValueError):
        return None
    end = reader.at + _CHECKSUM_BYTES
    return end if end <= len(data) else None


def _skip(reader: _RdbReader, opcode: int) -> None:
    match opcode:
        case 0xFE | 0xF8:  # database; idle time
            reader.length()
        case 0xFD:  # expiry in seconds
            reader.skip(4)
        case 0xFC:  # expiry in milliseconds
            reader.skip(8)
        case 0xFB:  # sizes of the tables
            reader.lengths(2)
        case 0xFA:  # metadata of the file
            reader.strings(2)
        case 0xF9:  # frequency of use
            reader.skip(1)
        case 0xF4:  # sizes of a slot
            reader.lengths(3)
        case 0xF5:  # a library of functions
            reader.strings(1)
        case _:
            reader.strings(1)
            _skip_value(reader, opcode)


def _skip_value(reader: _RdbReader, kind: int) -> None:
    if kind == _STRING or kind in _PACKED:
        reader.strings(1)
    elif kind in (_LIST, _SET, _QUICKLIST):
        reader.strings(reader.length())
    elif kind == _HASH:
        reader.strings(2 * reader.length())
    elif kind in (_ZSET, _ZSET_BINARY):
        for _ in range(reader.length()):
            reader.strings(1)
            reader.score(is_binary=kind == _ZSET_BINARY)
    elif kind == _QUICKLIST_2:
        for _ in range(reader.length()):
            reader.length()
            reader.strings(1)
    elif kind in _STREAMS:
        reader.strings(2 * reader.length())
        reader.lengths(_STREAMS[kind])
        if reader.length():
            raise ValueError("Penstock's streams have no consumer groups")
    else:
        raise ValueError(f"unknown type {kind}")


class _RdbReader:
    """Skips values. Raises `IndexError` at the end of the data."""

    def __init__(self, data: bytes | mmap, at: int) -> None:
        self._data = data
        self.at = at

    def byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
            raise IndexError

    def length(self) -> int:
        size, is_special = self._size()
        if is_special:
            raise ValueError("expected a length")
        return size

    def lengths(self, count: int) -> None:
        for _ in range(count):
            self.length()

    def strings(self, count: int) -> None:
        for _ in range(count):
            size, is_special = self._size()
            if not is_special:
                self.skip(size)
            elif size < 3:  # an integer of 1, 2 or 4 bytes
                self.skip(1 << size)
            elif size == 3:  # compressed: both lengths, then the bytes
                packed = self.length()
                self.length()
                self.skip(packed)
            else:
                raise ValueError("unknown string encoding")

    def score(self, *, is_binary: bool) -> None:
        if is_binary:
            self.skip(8)
        elif (size := self.byte()) < 253:  # above: NaN and infinities
            self.skip(size)

    def _size(self) -> tuple[int, bool]:
        """A length, or the kind of a special encoding and True."""
        first = self.byte()
        match first >> 6:
            case 0:
                return first & 0x3F, False
            case 1:
                return (first & 0x3F) << 8 | self.byte(), False
            case 3:
                return first & 0x3F, True
            case _:
                pass
        if first not in (0x80, 0x81):
            raise ValueError("unknown length")
        width = 4 if first == 0x80 else 8
        start = self.at
        self.skip(width)
        return int.from_bytes(self._data[start : self.at], "big"), False
