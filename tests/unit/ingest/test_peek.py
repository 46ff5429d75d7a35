"""The project of a body, from its first bytes: right, or not told at all."""

from __future__ import annotations

import random

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import Rejected
from penstock.wire import Batch, Frame, decode_batch, encode_batch, join_batches
from penstock_ingest.peek import PEEK_BYTES, project_of, project_of_body

ROWS = 50_000
# Noise, so that it stays large when it is compressed.
NOISE = random.Random(1).randbytes(8 * ROWS)


def batch(project: str = "noisy", rows: int = ROWS) -> Batch:
    steps = b"".join(n.to_bytes(8, "little") for n in range(rows))
    frame = Frame(["loss"], steps, bytes(8 * rows), NOISE[: 8 * rows])
    return Batch(project, "run", "writer", 1, frames=[frame])


@pytest.mark.parametrize("project", ["noisy", "日本 語", "x" * 128])
def test_the_project_is_found_compressed_or_not(project: str) -> None:
    plain, small = (encode_batch(batch(project), compress=each) for each in (False, True))
    assert project_of(plain) == project_of(small) == project
    body = join_batches([plain, encode_batch(batch("another"))])
    assert project_of_body(body) == project
    assert project_of_body(body[: 4 + 200]) == project


def test_what_does_not_tell_is_left_to_decoding() -> None:
    plain = encode_batch(batch(rows=9))
    late = msgpack.packb({"frames": b"x" * PEEK_BYTES, "project": "noisy"})
    for raw in (b"", b"\xc1", plain[:8], late, msgpack.packb({"project": 7}), msgpack.packb([1])):
        assert project_of(raw) is None
        assert project_of_body(join_batches([raw])) is None
    # Of a compressed batch the first bytes alone do not tell.
    assert project_of_body(join_batches([encode_batch(batch(), compress=True)])) is None


def test_a_damaged_or_greedy_frame_is_left_to_decoding() -> None:
    small = encode_batch(batch(), compress=True)
    assert project_of(small) == "noisy"
    assert project_of(small[:12] + b"\xff" * len(small)) is None
    # A small one is decoded at once.
    assert project_of(encode_batch(batch(rows=99), compress=True)) is None
    window = bytearray(small)
    window[4:6] = b"\x00\xf8"  # a window of terabytes
    assert project_of(bytes(window)) is None


@given(st.binary(max_size=300), st.booleans())
@settings(deadline=None)
def test_hostile_bytes_never_raise_and_never_name_another_project(
    tail: bytes, is_first: bool
) -> None:
    raw = tail if is_first else encode_batch(batch(rows=1))[:40] + tail
    found = project_of(raw)
    try:
        decoded = decode_batch(raw)
    except Rejected:
        return
    assert found in (None, decoded.project)
