"""Bodies whose hash nobody knows, stored in a folder and in obstore's store in memory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from penstock.errors import Rejected, Transient
from penstock_storage.blobs.blob_store import BlobStore, ObjectBlobStore, open_blobs
from penstock_storage.blobs.uploads import receive

LIMIT = 64 * 2**20


async def chunks_of(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go that no store has a folder for."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture(params=["folder", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, temporary: Path) -> BlobStore:
    if request.param == "folder":
        return open_blobs(str(tmp_path / "blobs"))
    return ObjectBlobStore(MemoryStore())


@pytest.mark.parametrize("size", [0, 1, 3_000_001, 20_000_000])
async def test_a_body_becomes_the_blob_that_it_is(
    blobs: BlobStore, tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    uploaded = await receive(chunks_of(content), blobs, limit_bytes=size)
    for _ in range(2):  # again does no harm
        assert await receive(chunks_of(content), blobs, limit_bytes=size) == uploaded
        assert uploaded.sha256 == hashlib.sha256(content).hexdigest()
        assert base64.b64decode(uploaded.md5) == hashlib.md5(content).digest()  # noqa: S324
        assert uploaded.size_bytes == size
    blob = await blobs.get(uploaded.sha256)
    assert blob is not None
    assert b"".join([chunk async for chunk in blob.chunks]) == content
    assert [each async for each in blobs.sizes()] == [(uploaded.sha256, size)]
    assert [path.name for path in files_in(tmp_path)] in ([], [uploaded.sha256])


async def test_too_long_bodies_leave_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="longer") as refused:
        await receive(chunks_of(bytes(20_000_000)), blobs, limit_bytes=19_999_999)
    assert refused.value.status == 413
    assert files_in(tmp_path) == []
    assert [each async for each in blobs.sizes()] == []


async def test_bodies_that_break_off_leave_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(10_000_000)
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"):
        await receive(broken(), blobs, limit_bytes=LIMIT)
    assert files_in(tmp_path) == []


async def test_cancelled_uploads_leave_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield bytes(3_000_000)
        begun.set()
        await asyncio.Event().wait()

    receiving = asyncio.create_task(receive(endless(), blobs, limit_bytes=LIMIT))
    await begun.wait()
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert files_in(tmp_path) == []


async def test_a_folder_that_cannot_be_written_is_transient(tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path / "blobs"))
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_bytes(b"not a folder")
    with pytest.raises(Transient, match="cannot be stored"):
        await receive(chunks_of(b"x"), blobs, limit_bytes=LIMIT)


async def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path))
    assert blobs.incoming is not None
    blobs.incoming.mkdir()
    old, young = blobs.incoming / "old", blobs.incoming / "young"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    await receive(chunks_of(b"y"), blobs, limit_bytes=LIMIT)
    assert (old.exists(), young.exists()) == (False, True)


async def test_what_killed_processes_left_for_a_bucket_is_removed(temporary: Path) -> None:
    """Those of uploads alone: the folder is everyone's."""
    old, young = temporary / "penstock-upload-old", temporary / "penstock-upload-young"
    others = temporary / "others"
    for path in (old, young, others):
        path.write_bytes(b"x")
    for path in (old, others):
        os.utime(path, (time.time() - 90_000, time.time() - 90_000))
    await receive(chunks_of(b"y"), ObjectBlobStore(MemoryStore()), limit_bytes=LIMIT)
    assert set(files_in(temporary)) == {young, others}


async def test_other_work_goes_on_while_a_large_body_is_hashed(tmp_path: Path) -> None:
    """Counted, not timed: the loop turns while each piece is written and hashed."""
    blobs, turns, done = open_blobs(str(tmp_path)), 0, False

    async def turning() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(turning())
    content = bytes(64 * 2**20)
    await receive(chunks_of(content, len(content)), blobs, limit_bytes=LIMIT)  # one huge chunk
    done = True
    await other
    assert turns > 100
