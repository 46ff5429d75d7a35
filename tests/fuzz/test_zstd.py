"""Compressed batches: bombs of every kind, cut short, several frames, wrong lengths, dictionaries.
Nothing is ever held beyond the limit, and nothing but `Rejected` comes out."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest
import zstandard
from support.fuzzing import cases, corpus, kept, or_refused, source
from support.hostile import mutated

from penstock.wire import Limits, decompress

KNOWN = corpus("zstd")
FEW = Limits(decoded_bytes=2**20)
_MAGIC = b"\x28\xb5\x2f\xfd"
_BLOCK = 128 * 2**10


def blocks_of_one_byte(count: int, declared: int | None, window: int = 10) -> bytes:
    """A frame of run-length blocks, each of which makes 128 KiB of four bytes."""
    head = _MAGIC + bytes([0 if declared is None else 0x80, window << 3])
    if declared is not None:
        head += struct.pack("<I", declared)
    sizes = [(1 if i == count - 1 else 0) | 2 | _BLOCK << 3 for i in range(count)]
    return head + b"".join(struct.pack("<I", size)[:3] + b"a" for size in sizes)


def frame(rng: random.Random, content: bytes) -> bytes:
    """The content in a frame with properties at random."""
    return zstandard.ZstdCompressor(
        level=rng.choice((-5, 1, 3, 19)),
        write_content_size=rng.random() < 0.5,
        write_checksum=rng.random() < 0.5,
    ).compress(content)


def in_dictionary(rng: random.Random, content: bytes) -> bytes:
    raw = zstandard.ZstdCompressionDict(rng.randbytes(2_000), zstandard.DICT_TYPE_RAWCONTENT)
    named = zstandard.train_dictionary(
        2_048, [rng.randbytes(20) + b"loss" * 20 for _ in range(200)]
    )
    return zstandard.ZstdCompressor(dict_data=rng.choice((raw, named))).compress(content)


def peak_of(raw: bytes) -> tuple[bytes | None, int]:
    """What comes out (None if it was refused), and how much memory was taken on the way."""
    tracemalloc.start()
    try:
        found = or_refused(decompress, raw, FEW)
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def check(raw: bytes) -> bytes | None:
    with kept("zstd", raw):
        found, peak = peak_of(raw)
        allowed = FEW.decoded_bytes
        if found is not None and raw[:4] == _MAGIC:
            assert len(found) <= allowed
        # What is read, and what it was counted with; the decoder's own state is not Python's.
        assert peak < 2 * allowed + 2**18
        return found


@pytest.mark.parametrize("name", KNOWN)
def test_what_was_found_before(name: str) -> None:
    assert check(KNOWN[name]) is None


@pytest.mark.parametrize("declared", [None, 0, 100, 2**20, 2**32 - 1])
@pytest.mark.parametrize("count", [9, 1_000, 16_000])
def test_bombs_of_run_length_blocks(count: int, declared: int | None) -> None:
    """64 KiB that would be 2 GiB: all of it in one step, if it were let."""
    assert not check(blocks_of_one_byte(count, declared))


def test_a_window_that_is_claimed_is_not_taken() -> None:
    for window in range(32):
        check(blocks_of_one_byte(100, None, window))
    few, largest = blocks_of_one_byte(2, None, 13), blocks_of_one_byte(2, None, 14)
    assert len(check(few) or b"") == 256 * 2**10
    assert check(largest) is None, "a window above 8 MiB"


def test_bombs_of_good_compression() -> None:
    for declared in (True, False):
        compressor = zstandard.ZstdCompressor(level=19, write_content_size=declared)
        assert check(compressor.compress(bytes(64 * 2**20))) is None
        inner = compressor.compress(bytes(64 * 2**20))
        assert check(compressor.compress(inner * 50)) != b""


@pytest.mark.timeout(300)
def test_frames_of_all_kinds_damaged_in_all_ways() -> None:
    rng = source("zstd")
    for _ in range(cases(5_000)):
        content = rng.choice((rng.randbytes, lambda n: b"loss" * (n // 4)))(rng.randrange(3_000))
        raw = frame(rng, content)
        expected: bytes | None = content if content else None
        match rng.randrange(6):
            case 0:
                raw, expected = raw[: rng.randrange(4, len(raw))], None
            case 1:
                raw, expected = raw + rng.randbytes(rng.randrange(1, 9)), None
            case 2:
                raw, expected = raw + frame(rng, content), None
            case 3:
                raw, expected = in_dictionary(rng, content), None
            case 4:
                with kept("zstd", raw := mutated(rng, raw)):
                    check(raw)
                continue
            case _:
                pass
        found = check(raw)
        if expected is None:
            # Content of a few bytes needs no dictionary, although the frame names one.
            assert found in (None, content, b"")
        else:
            assert found == expected
