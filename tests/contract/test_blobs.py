"""What every blob store promises, tried on a folder and on obstore's store in memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from penstock.errors import Rejected, Transient
from penstock_storage.blobs.blob_store import BlobStore, ObjectBlobStore, open_blobs

LIMIT = 64 * 2**20


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def chunks_of(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def content_of(blobs: BlobStore, digest: str) -> bytes | None:
    blob = await blobs.get(digest)
    if blob is None:
        return None
    content = b"".join([chunk async for chunk in blob.chunks])
    assert len(content) == blob.size_bytes
    return content


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(params=["folder", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    makers: dict[str, Callable[[], BlobStore]] = {
        "folder": lambda: open_blobs(str(tmp_path / "blobs")),
        "memory": lambda: ObjectBlobStore(MemoryStore()),
    }
    return makers[request.param]()


@pytest.mark.parametrize("size", [0, 1, 3_000_000, 20_000_000])
async def test_content_comes_back(blobs: BlobStore, size: int) -> None:
    content = os.urandom(size)
    digest = digest_of(content)
    assert not await blobs.exists(digest)
    assert await blobs.put(digest, chunks_of(content), limit_bytes=LIMIT) == size
    assert await blobs.put(digest, chunks_of(content), limit_bytes=LIMIT) == size
    assert await blobs.exists(digest)
    assert await content_of(blobs, digest) == content


async def test_what_is_not_there(blobs: BlobStore) -> None:
    assert await blobs.get(digest_of(b"x")) is None
    assert not await blobs.exists(digest_of(b"x"))


@pytest.mark.parametrize("size", [0, 10, 20_000_000])
async def test_other_content_than_promised_is_not_stored(blobs: BlobStore, size: int) -> None:
    digest = digest_of(b"promised")
    with pytest.raises(Rejected, match="SHA-256"):
        await blobs.put(digest, chunks_of(bytes(size)), limit_bytes=LIMIT)
    assert not await blobs.exists(digest)


async def test_too_long_content_is_not_stored(blobs: BlobStore) -> None:
    content = bytes(20_000_000)
    with pytest.raises(Rejected, match="longer"):
        await blobs.put(digest_of(content), chunks_of(content), limit_bytes=19_999_999)
    assert not await blobs.exists(digest_of(content))


async def test_a_stream_that_breaks_off_stores_nothing(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(10_000_000)
        raise ConnectionResetError("gone")

    blobs = open_blobs(str(tmp_path))
    with pytest.raises(ConnectionResetError, match="gone"):
        await blobs.put(digest_of(bytes(10_000_000)), broken(), limit_bytes=LIMIT)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
async def test_only_digests_name_blobs(blobs: BlobStore, digest: str) -> None:
    for work in (
        blobs.get(digest),
        blobs.exists(digest),
        blobs.put(digest, chunks_of(b""), limit_bytes=LIMIT),
    ):
        with pytest.raises(Rejected, match="hex"):
            await work


async def test_a_folder_that_cannot_be_written_is_transient(tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path / "blobs"))
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_bytes(b"not a folder")
    with pytest.raises(Transient):
        await blobs.put(digest_of(b"x"), chunks_of(b"x"), limit_bytes=LIMIT)


LISTS_AND_LEAVES = """
import asyncio, sys
from penstock_storage.blobs.blob_store import open_blobs

async def main():
    blobs = open_blobs(sys.argv[1])
    assert [digest async for digest, _ in blobs.sizes()]
    assert not await blobs.exists("0" * 64)

asyncio.run(main())
"""


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_process_may_end_right_after_it_asked(tmp_path: Path) -> None:
    """With obstore's coroutines, one in five such processes ended with SIGABRT."""
    content = b"x"
    blobs = open_blobs(str(tmp_path))
    await blobs.put(digest_of(content), chunks_of(content), limit_bytes=LIMIT)
    for _ in range(15):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", LISTS_AND_LEAVES, str(tmp_path)
        )
        assert await asyncio.wait_for(process.wait(), 30) == 0
