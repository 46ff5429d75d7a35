"""The Native format: what is written is what is read, wherever the stream is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.fuzzing import sized

from penstock.errors import Broken
from penstock_storage.clickhouse.native import (
    BlockDecoder,
    UnsupportedType,
    concatenate,
    empty_column,
    encode_block,
)
from penstock_storage.contracts.interface import Column, Columns

NUMBERS = {
    "UInt8": "u1",
    "UInt16": "<u2",
    "UInt32": "<u4",
    "UInt64": "<u8",
    "Int8": "i1",
    "Int16": "<i2",
    "Int32": "<i4",
    "Int64": "<i8",
    "Float32": "<f4",
    "Float64": "<f8",
}
TEXTS = st.text(max_size=300)


def column_of(type_name: str, rows: int) -> st.SearchStrategy[Column]:
    if type_name in NUMBERS:
        return hnp.arrays(np.dtype(NUMBERS[type_name]), rows)
    if type_name == "String":
        return st.lists(TEXTS, min_size=rows, max_size=rows)
    if type_name == "Array(UInt32)":
        numbers = st.lists(st.integers(0, 2**32 - 1), max_size=5)
        return st.lists(numbers, min_size=rows, max_size=rows)
    assert type_name == "Tuple(UInt64, Float64)"
    return st.tuples(hnp.arrays("<u8", rows), hnp.arrays("<f8", rows))


@st.composite
def blocks(draw: st.DrawFn) -> tuple[dict[str, str], Columns]:
    rows = draw(st.integers(1, 40))
    type_name = st.sampled_from([*NUMBERS, "String", "Array(UInt32)", "Tuple(UInt64, Float64)"])
    types = draw(st.dictionaries(st.text(min_size=1, max_size=20), type_name, min_size=1))
    return types, {name: draw(column_of(kind, rows)) for name, kind in types.items()}


def plain(column: Column) -> list[Any]:
    """Values as Python objects that compare equal, NaN included."""
    if isinstance(column, tuple):
        return list(zip(plain(column[0]), plain(column[1]), strict=True))
    if isinstance(column, np.ndarray):
        return [column.dtype.str, column.tobytes()]
    return list(column)


@sized(2_500)
@given(st.lists(blocks(), max_size=4), st.data())
def test_a_stream_cut_anywhere_gives_the_blocks_that_were_written(
    written: list[tuple[dict[str, str], Columns]], data: st.DataObject
) -> None:
    stream = b"".join(b"".join(encode_block(types, columns)) for types, columns in written)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = BlockDecoder()
    read = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        read += decoder.feed(stream[start:end])
    read += decoder.finish()
    assert [{name: plain(column) for name, column in block.items()} for block in read] == [
        {name: plain(column) for name, column in block.items()} for _, block in written
    ]


@sized(2_500)
@given(blocks(), st.data())
def test_a_stream_that_ends_inside_a_block_is_an_error(
    written: tuple[dict[str, str], Columns], data: st.DataObject
) -> None:
    stream = b"".join(encode_block(*written))
    decoder = BlockDecoder()
    decoder.feed(stream[: data.draw(st.integers(1, len(stream) - 1))])
    with pytest.raises(Broken, match="ends inside a block"):
        decoder.finish()


@pytest.mark.heavy
@pytest.mark.smoke
def test_large_blocks_in_small_pieces() -> None:
    columns: Columns = {"s": ["x" * 100] * 40_000, "v": np.arange(40_000.0)}
    stream = b"".join(encode_block({"s": "String", "v": "Float64"}, columns)) * 2
    decoder = BlockDecoder()
    read = []
    for start in range(0, len(stream), 10_000):
        read += decoder.feed(stream[start : start + 10_000])
    read += decoder.finish()
    assert len(read) == 2
    assert len(concatenate([block["s"] for block in read])) == 80_000


@sized(2_500)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_blocks_raise_only_broken(noise: bytes) -> None:
    decoder = BlockDecoder()
    try:
        decoder.feed(noise)
        decoder.finish()
    except Broken:
        pass


@pytest.mark.parametrize(
    "columns",
    [
        {"a": np.arange(3)},
        {"a": np.arange(3), "b": ["x"], "c": ["x"]},
        {"a": np.arange(3), "b": ["x", "y"]},
        {"a": np.arange(2) - 1, "b": ["x", "y"]},
        {"a": np.arange(2) * 1.5, "b": ["x", "y"]},
        {"a": np.array([0, 2**32]), "b": ["x", "y"]},
    ],
)
def test_columns_that_do_not_fit_are_refused(columns: Columns) -> None:
    with pytest.raises(ValueError, match=r"columns|length|fit"):
        encode_block({"a": "UInt32", "b": "String"}, columns)


def test_unknown_types_are_named() -> None:
    with pytest.raises(UnsupportedType, match="Decimal"):
        encode_block({"a": "Decimal(9, 2)"}, {"a": [1]})
    with pytest.raises(UnsupportedType, match="DateTime"):
        BlockDecoder().feed(b"\x01\x01\x01a\x08DateTime\x00\x00\x00\x00")


def test_columns_without_rows() -> None:
    assert plain(empty_column("UInt32")) == ["<u4", b""]
    assert plain(empty_column("SimpleAggregateFunction(max, Int64)")) == ["<i8", b""]
    assert plain(empty_column("Nullable(Int64)")) == ["<f8", b""]
    assert empty_column("LowCardinality(String)") == []
    assert empty_column("Array(UInt32)") == []
    pair = empty_column("Tuple(seq UInt64, value Float64)")
    assert isinstance(pair, tuple)
    assert [part.dtype.str for part in pair] == ["<u8", "<f8"]
    types = {"a": "UInt8", "b": "Array(UInt32)"}
    assert BlockDecoder().feed(b"".join(encode_block(types, {"a": [], "b": []})))[0]["b"] == []
