"""Images, artifacts and other files, kept by the SHA-256 of their content.

Owns the location of blobs, in a folder or a bucket, and guarantees that the content matches the name: a
blob appears only when it is complete and its hash is right, and never changes. Paths consist of hashes
alone, never of names that a user chose.

Obstore is mostly called in Python threads, which end before the interpreter does. Its coroutines leave
native threads behind that still drop an object after their result has been taken; if the interpreter
is shutting down, CPython before 3.14 ends such a thread, and Rust then aborts the process.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import obstore
from obstore import exceptions
from obstore.store import LocalStore, ObjectStore, from_url

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, Rejected, Transient

__all__ = ["Blob", "BlobStore", "ObjectBlobStore", "open_blobs"]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PREFIX = "sha256"
_INCOMING = "incoming"
_CHUNK_BYTES = 2**20
_PART_BYTES = 8 * 2**20  # of a multipart upload; S3 wants 5 MiB at least


@dataclass(frozen=True)
class Blob:
    """A stored blob, or a span of it. `size_bytes` is the whole blob's; `chunks` can be read once."""

    size_bytes: int
    chunks: AsyncIterator[bytes]


class BlobStore(Protocol):
    """Content by its hash: `digest` is 64 lower-case hex digits, else `Rejected`.

    Every method raises `Transient` if the store cannot serve now, `Broken` if it is set up wrongly.
    """

    async def put(self, digest: str, chunks: AsyncIterator[bytes], *, limit_bytes: int) -> int:
        """Store a blob durably and return its size; repeating that does no harm.

        Raises `Rejected`, and stores nothing, if it is longer than the limit or has another hash.
        """

    async def put_file(self, digest: str, path: Path) -> None:
        """Store a file on disk whose content has this digest, as the caller knows.

        The file belongs to the store from now on: it may be moved away.
        """

    @property
    def incoming(self) -> Path | None:
        """A folder from which `put_file` can simply move files; None: any folder."""

    async def get(self, digest: str, span: tuple[int, int] | None = None) -> Blob | None:
        """A blob; `span`: only the bytes from start to end (exclusive)."""

    async def exists(self, digest: str) -> bool: ...

    def sizes(self) -> AsyncIterator[tuple[str, int]]:
        """Every blob's digest and size in bytes, in no order."""

    async def delete(self, digest: str) -> None:
        """Delete a blob; a missing one is ignored."""


def open_blobs(location: str) -> BlobStore:
    """The blobs in a folder (created if missing) or at an `s3://`, `gs://` or `az://` URL.

    Credentials for buckets come from the vendors' usual places.
    """
    if "://" not in location or location.startswith("file://"):
        folder = Path(location.removeprefix("file://")).absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return ObjectBlobStore(LocalStore(folder), folder)
    return ObjectBlobStore(from_url(location))


class ObjectBlobStore:
    """A `BlobStore` over obstore; `folder` is where a local one keeps its files."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder

    async def put(self, digest: str, chunks: AsyncIterator[bytes], *, limit_bytes: int) -> int:
        path = _path(digest)
        upload = _Upload(digest, chunks, limit_bytes)
        with _sorted_errors(upload):
            await obstore.put_async(
                self._store, path, upload.checked(), chunk_size=_PART_BYTES, use_multipart=True
            )
        if self._folder is not None:
            await asyncio.to_thread(_flush, self._folder / path)
        return upload.size_bytes

    async def put_file(self, digest: str, path: Path) -> None:
        if self._folder is None:
            await self.put(digest, _read_file(path), limit_bytes=path.stat().st_size)
            return
        target = self._folder / _path(digest)
        with _sorted_errors():
            await asyncio.to_thread(_move, path, target)

    @property
    def incoming(self) -> Path | None:
        return None if self._folder is None else self._folder / _INCOMING

    async def get(self, digest: str, span: tuple[int, int] | None = None) -> Blob | None:
        options: obstore.GetOptions = {} if span is None else {"range": span}
        with _sorted_errors():
            try:
                found = await asyncio.to_thread(
                    obstore.get, self._store, _path(digest), options=options
                )
            except (exceptions.NotFoundError, FileNotFoundError):
                return None
            return Blob(found.meta["size"], _read(found))

    async def exists(self, digest: str) -> bool:
        with _sorted_errors():
            try:
                await asyncio.to_thread(obstore.head, self._store, _path(digest))
            except (exceptions.NotFoundError, FileNotFoundError):
                return False
            return True

    async def sizes(self) -> AsyncIterator[tuple[str, int]]:
        with _sorted_errors():
            listed = iter(obstore.list(self._store, _PREFIX))
            while (found := await asyncio.to_thread(next, listed, None)) is not None:
                for meta in found:
                    digest = meta["path"].rpartition("/")[2]
                    if _DIGEST.fullmatch(digest):
                        yield digest, meta["size"]

    async def delete(self, digest: str) -> None:
        with _sorted_errors(), suppress(exceptions.NotFoundError, FileNotFoundError):
            await asyncio.to_thread(obstore.delete, self._store, _path(digest))


class _Upload:
    """An incoming stream, checked before it counts as complete."""

    def __init__(self, digest: str, chunks: AsyncIterator[bytes], limit_bytes: int) -> None:
        self.size_bytes = 0
        self.error: BaseException | None = None
        self._digest = digest
        self._chunks = chunks
        self._limit_bytes = limit_bytes

    async def checked(self) -> AsyncIterator[bytes]:
        """The chunks. An error raised here makes the store discard them."""
        try:
            hashed = hashlib.sha256()
            async for chunk in self._chunks:
                self.size_bytes += len(chunk)
                if self.size_bytes > self._limit_bytes:
                    raise Rejected(
                        f"the blob is longer than {self._limit_bytes} bytes",
                        code=ErrorCode.BLOB_TOO_LARGE,
                    )
                hashed.update(chunk)
                yield chunk
            if hashed.hexdigest() != self._digest:
                raise Rejected(
                    f"the content's SHA-256 is {hashed.hexdigest()}, not {self._digest}",
                    code=ErrorCode.DIGEST_MISMATCH,
                )
        except BaseException as error:
            self.error = error
            raise


async def _read(found: obstore.GetResult) -> AsyncIterator[bytes]:
    with _sorted_errors():
        chunks = iter(found.stream(min_chunk_size=_CHUNK_BYTES))
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield bytes(chunk)


async def _read_file(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    _flush(target)


def _path(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise Rejected("a blob's digest is 64 lower-case hex digits", code=ErrorCode.BAD_DIGEST)
    return f"{_PREFIX}/{digest[:2]}/{digest}"


def _flush(path: Path) -> None:
    """Sync a new file and its directory entry, so that they survive a power loss."""
    for each in (path, path.parent, path.parent.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _sorted_errors(upload: _Upload | None = None) -> Iterator[None]:
    try:
        yield
    except (exceptions.BaseError, OSError) as error:
        if upload is not None and upload.error is not None:
            # The store wraps errors of the incoming stream.
            raise upload.error from error
        if isinstance(error, _SETUP_ERRORS):
            raise Broken(f"the blob store refuses: {error}") from error
        raise Transient(
            f"the blob store cannot be reached: {error}", code=ErrorCode.BLOBS_UNREACHABLE
        ) from error


_SETUP_ERRORS = (
    exceptions.InvalidPathError,
    exceptions.PermissionDeniedError,
    exceptions.UnauthenticatedError,
    exceptions.UnknownConfigurationKeyError,
    PermissionError,
)
