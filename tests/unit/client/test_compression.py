"""What clients compress servers can read, and clients read back what either of them compressed."""

from __future__ import annotations

import os

import pytest
import zstandard

from penstock.errors import Rejected
from penstock.wire import decompress
from penstock.wire.compression import compress, expand

CONTENTS = [b"", b"a", bytes(10_000), os.urandom(70_000), b"some text " * 300_000]


@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_both_sides_read_what_the_other_one_compressed(content: bytes) -> None:
    assert decompress(compress(content, level=1)) == content
    assert expand(compress(content)) == content
    assert expand(zstandard.ZstdCompressor().compress(content)) == content


def test_what_is_not_compressed_stays_as_it_is() -> None:
    assert expand(b"\x81\xa1a\x01") == b"\x81\xa1a\x01"
    assert expand(b"") == b""


def test_a_damaged_frame_is_told() -> None:
    frame = compress(os.urandom(1_000))
    for damaged in (frame[:5], frame[:-1], frame[:7] + b"\xff" * (len(frame) - 7)):
        with pytest.raises(ValueError, match="damaged or truncated"):
            expand(damaged)
        with pytest.raises(Rejected, match="damaged"):
            decompress(damaged)
