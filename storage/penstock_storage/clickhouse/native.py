"""Serializer of ClickHouse's `Native` format at revision 0, which its HTTP interface uses.

A stream is blocks; a block is the numbers of columns and rows, then for each column its name, its
type and its values. Owns the bytes only: no I/O, no SQL. Numbers are copied as they are, so a
column of floats costs one memcpy. Types that Penstock's tables and queries do not use raise
`UnsupportedType`; cast them in the query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from penstock.errors import Broken
from penstock_storage.contracts.interface import Column, Columns

__all__ = ["BlockDecoder", "UnsupportedType", "concatenate", "empty_column", "encode_block"]

_NUMBERS = {
    "Bool": np.dtype("?"),
    "UInt8": np.dtype("u1"),
    "UInt16": np.dtype("<u2"),
    "UInt32": np.dtype("<u4"),
    "UInt64": np.dtype("<u8"),
    "Int8": np.dtype("i1"),
    "Int16": np.dtype("<i2"),
    "Int32": np.dtype("<i4"),
    "Int64": np.dtype("<i8"),
    "Float32": np.dtype("<f4"),
    "Float64": np.dtype("<f8"),
}
_OFFSETS = np.dtype("<u8")
# LowCardinality: the low byte of a block's header is the width of its indices.
_INDEX_DTYPES = [np.dtype(name) for name in ("u1", "<u2", "<u4", "<u8")]
_MAX_COLUMNS = 10_000
_MAX_NAME_BYTES = 2**20
_LARGE_COLUMN_BYTES = 2**20


class UnsupportedType(Broken):
    """A column's type is outside what Penstock reads and writes."""


class _Incomplete(Exception):
    """The data so far ends inside a block."""


# -- types


def _arguments(type_name: str) -> tuple[str, list[str]]:
    """`"Array(UInt32)"` -> `("Array", ["UInt32"])`; a tuple's element names are left out."""
    head, bracket, rest = type_name.partition("(")
    if not bracket:
        return type_name, []
    arguments, depth, start = [], 0, 0
    inner = rest[:-1]
    for position, character in enumerate(inner):
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "," and depth == 0:
            arguments.append(inner[start:position].strip())
            start = position + 1
    arguments.append(inner[start:].strip())
    if head == "Tuple":
        arguments = [re.sub(r"^(\w+|`[^`]*`) (?=\w)", "", argument) for argument in arguments]
    if head == "SimpleAggregateFunction":
        return _arguments(arguments[-1])
    return head, arguments


def empty_column(type_name: str) -> Column:
    """A column of this type without rows."""
    head, arguments = _arguments(type_name)
    if head in _NUMBERS:
        return np.empty(0, _NUMBERS[head])
    if head == "LowCardinality":
        return empty_column(arguments[0])
    if head == "Nullable" and arguments[0] in _NUMBERS:
        return np.empty(0, np.dtype("<f8"))
    if head == "Tuple" and len(arguments) == 2:
        first, second = (empty_column(argument) for argument in arguments)
        if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
            return first, second
    return []


def concatenate(parts: list[Column]) -> Column:
    """The values of one column from several blocks, in order. At least one part."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate([_array(part) for part in parts])
    if isinstance(parts[0], tuple):
        pairs = [part for part in parts if isinstance(part, tuple)]
        return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])
    return [value for part in parts for value in part]


def _array(column: Column) -> npt.NDArray[Any]:
    if not isinstance(column, np.ndarray):
        raise TypeError(f"a numpy array was expected, not {type(column).__name__}")
    return column


# -- encoding


def encode_block(types: Mapping[str, str], columns: Mapping[str, Column]) -> list[bytes]:
    """One block holding `columns` in the order of `types` (name -> ClickHouse type), in pieces.

    All columns must have the same length; raises `ValueError` if one is missing or differs.
    """
    if set(types) != set(columns):
        raise ValueError(f"the columns should be {sorted(types)}, not {sorted(columns)}")
    rows = {name: _length(columns[name]) for name in types}
    if len(set(rows.values())) != 1:
        raise ValueError(f"the columns differ in length: {rows}")
    pieces = [_varint(len(types)) + _varint(next(iter(rows.values())))]
    for name, type_name in types.items():
        pieces.append(_string(name) + _string(type_name))
        pieces.extend(_encode(type_name, columns[name]))
    return pieces


def _length(column: Column) -> int:
    if isinstance(column, tuple):
        first, second = column
        if len(first) != len(second):
            raise ValueError(f"the parts of a tuple column differ: {len(first)}, {len(second)}")
        return len(first)
    return len(column)


def _encode(type_name: str, column: Column) -> Iterator[bytes]:
    head, arguments = _arguments(type_name)
    if head in _NUMBERS:
        yield _numbers(column, _NUMBERS[head])
    elif head == "String":
        yield b"".join(map(_string, cast("list[str]", column)))
    elif head == "Array" and arguments[0] in _NUMBERS:
        lists = list(column)
        yield np.cumsum([len(values) for values in lists], dtype=_OFFSETS).tobytes()
        flat = [number for values in lists for number in values]
        yield _numbers(flat, _NUMBERS[arguments[0]])
    elif head == "Tuple" and isinstance(column, tuple):
        for argument, part in zip(arguments, column, strict=True):
            yield from _encode(argument, part)
    else:
        raise UnsupportedType(f"cannot write a column of type {type_name}")


def _numbers(values: Any, dtype: np.dtype[Any]) -> bytes:
    array = np.asarray(values)
    if array.size and not np.can_cast(array.dtype, dtype, "same_kind"):
        # A list of Python ints becomes int64; it fits if no value changes.
        narrowed = array.astype(dtype)
        if array.dtype.kind not in "iub" or dtype.kind not in "iub" or (narrowed != array).any():
            raise ValueError(f"{array.dtype} values do not fit a column of {dtype}")
        array = narrowed
    return np.ascontiguousarray(array, dtype).tobytes()


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _string(text: str) -> bytes:
    raw = text.encode()
    return _varint(len(raw)) + raw


# -- decoding


class BlockDecoder:
    """Decodes the chunks of a stream into blocks, wherever the chunk boundaries are.

    Text that is not UTF-8 is decoded with escaped bytes (`surrogateescape`). A Nullable number becomes
    float64 with NaN for NULL, other Nullable values become a list with None.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = 1
        self._block: _Block | None = None

    def feed(self, chunk: bytes) -> list[Columns]:
        """The blocks that this chunk completes. Raises `Broken` if the bytes make no sense."""
        self._buffer += chunk
        blocks: list[Columns] = []
        while len(self._buffer) >= self._needed:
            block = self._block or _Block()
            reader = _Reader(self._buffer)
            try:
                block.read(reader)
            except _Incomplete:
                # Complete columns are kept. An incomplete string column is decoded again, so it waits
                # for more than the next value: the repeated work stays linear in its size.
                self._block = block
                size = len(self._buffer) - block.end
                patience = size // 2 if size > _LARGE_COLUMN_BYTES else 0
                self._needed = max(reader.wanted - block.end, size + patience)
                return blocks
            finally:
                reader.release()
                del self._buffer[: block.end]
                block.end = 0
            self._block, self._needed = None, 1
            if block.columns:
                blocks.append(block.columns)
        return blocks

    def finish(self) -> list[Columns]:
        """The last blocks, at the end of the stream. Raises `Broken` if it ends inside a block."""
        self._needed = 1
        blocks = self.feed(b"")
        if self._buffer or self._block is not None:
            raise Broken(f"the store's answer ends inside a block ({len(self._buffer)} bytes left)")
        return blocks


class _Reader:
    """A position in a buffer; `wanted` is the end of the last bytes that were asked for."""

    def __init__(self, buffer: bytearray) -> None:
        self._view = memoryview(buffer)
        self.offset = 0
        self.wanted = 0

    def release(self) -> None:
        self._view.release()

    def take(self, size: int) -> memoryview:
        end = self.offset + size
        if end > len(self._view):
            self.wanted = end
            raise _Incomplete
        part = self._view[self.offset : end]
        self.offset = end
        return part

    def numbers(self, dtype: np.dtype[Any], rows: int) -> npt.NDArray[Any]:
        """A copy: the buffer is reused."""
        with self.take(dtype.itemsize * rows) as part:
            return np.frombuffer(part, dtype).copy()

    def varint(self) -> int:
        number, shift, position = 0, 0, self.offset
        view, end = self._view, len(self._view)
        while True:
            if position >= end:
                self.wanted = position + 1
                raise _Incomplete
            byte = view[position]
            position += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                self.offset = position
                return number
            shift += 7
            if shift > 63:
                raise Broken("the store's answer is not in Native format: a length has no end")

    def text(self, limit_bytes: int | None = None) -> str:
        size = self.varint()
        if limit_bytes is not None and size > limit_bytes:
            raise Broken(f"the store's answer is not in Native format: a name of {size} bytes")
        with self.take(size) as part:
            return str(part, "utf-8", "surrogateescape")


class _Block:
    """An incomplete block. `end`: the end of its decoded part in the buffer."""

    def __init__(self) -> None:
        self.columns: Columns = {}
        self.end = 0
        self._missing: int | None = None
        self._rows = 0

    def read(self, reader: _Reader) -> None:
        """Decode the missing columns. Raises `_Incomplete` if there is not enough data; complete columns
        are kept then."""
        if self._missing is None:
            width, self._rows = reader.varint(), reader.varint()
            if width > _MAX_COLUMNS:
                raise Broken(f"the store's answer is not in Native format: {width} columns")
            self._missing, self.end = width, reader.offset
        while self._missing:
            name = reader.text(_MAX_NAME_BYTES)
            type_name = reader.text(_MAX_NAME_BYTES)
            if self._rows == 0:
                self.columns[name] = empty_column(type_name)
            else:
                self.columns[name] = _decode(reader, type_name, self._rows)
            self._missing, self.end = self._missing - 1, reader.offset


def _decode(reader: _Reader, type_name: str, rows: int) -> Column:
    head, arguments = _arguments(type_name)
    if head in _NUMBERS:
        return reader.numbers(_NUMBERS[head], rows)
    decode = _DECODERS.get(head)
    if decode is None:
        raise UnsupportedType(f"cannot read a column of type {type_name}: cast it in the query")
    return decode(reader, arguments, rows)


def _decode_string(reader: _Reader, _: list[str], rows: int) -> Column:
    text = reader.text
    return [text() for _ in range(rows)]


def _decode_array(reader: _Reader, arguments: list[str], rows: int) -> Column:
    offsets = reader.numbers(_OFFSETS, rows)
    flat = _decode(reader, arguments[0], int(offsets[-1])) if offsets[-1] else []
    values = flat.tolist() if isinstance(flat, np.ndarray) else list(flat)
    ends = offsets.tolist()
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _decode_tuple(reader: _Reader, arguments: list[str], rows: int) -> Column:
    parts = [_decode(reader, argument, rows) for argument in arguments]
    if len(parts) == 2 and isinstance(parts[0], np.ndarray) and isinstance(parts[1], np.ndarray):
        return parts[0], parts[1]
    lists = [part.tolist() if isinstance(part, np.ndarray) else list(part) for part in parts]
    return list(zip(*lists, strict=True))


def _decode_nullable(reader: _Reader, arguments: list[str], rows: int) -> Column:
    is_null = reader.numbers(_NUMBERS["UInt8"], rows).astype(bool)
    values = _decode(reader, arguments[0], rows)
    if isinstance(values, np.ndarray):
        return np.where(is_null, np.nan, values.astype("<f8"))
    nulls = is_null.tolist()
    return [None if null else value for null, value in zip(nulls, values, strict=True)]


def _decode_low_cardinality(reader: _Reader, arguments: list[str], rows: int) -> Column:
    version, flags, size = reader.numbers(_OFFSETS, 3).tolist()
    if version != 1 or flags & 0x100 or arguments[0].startswith("Nullable"):
        raise UnsupportedType(f"cannot read this LowCardinality({arguments[0]}): cast it")
    dictionary = _decode(reader, arguments[0], size)
    reader.numbers(_OFFSETS, 1)  # the number of rows, repeated
    indices = reader.numbers(_INDEX_DTYPES[flags & 0xFF], rows)
    if isinstance(dictionary, np.ndarray):
        return np.take(dictionary, indices)
    return [dictionary[index] for index in indices.tolist()]


_DECODERS: dict[str, Callable[[_Reader, list[str], int], Column]] = {
    "Array": _decode_array,
    "LowCardinality": _decode_low_cardinality,
    "Nullable": _decode_nullable,
    "String": _decode_string,
    "Tuple": _decode_tuple,
}
