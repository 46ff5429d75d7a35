"""Uploads of content with an unknown hash: received, hashed on the way, and stored under the hash.

A body is kept in a temporary file until it is complete; if blobs are files themselves it is then moved
to its place, never copied. Hashing and writing happen in threads, in pieces, so that a large body does
not hold up other requests.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient
from penstock_storage.blobs.blob_store import BlobStore

__all__ = ["Uploaded", "receive"]

_PIECE_BYTES = 2**20
_PREFIX = "penstock-upload-"
_LEFTOVER_S = 24 * 3600.0  # a file that was last written this long ago is abandoned


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A stored blob. `sha256`: 64 hex digits, the blob's name; `md5`: base64."""

    sha256: str
    md5: str
    size_bytes: int


async def receive(chunks: AsyncIterator[bytes], blobs: BlobStore, *, limit_bytes: int) -> Uploaded:
    """Store the chunks durably as one blob.

    Raises `Rejected` (413) if they are longer than the limit, `Transient` if they cannot be stored now,
    and any error of the chunks. Then nothing is stored, and no temporary file is left.
    """
    try:
        incoming = await asyncio.to_thread(_Incoming, blobs.incoming)
        try:
            await _take(chunks, incoming, limit_bytes)
            uploaded = await asyncio.to_thread(incoming.finish)
            await blobs.put_file(uploaded.sha256, incoming.path)
            return uploaded
        finally:
            incoming.discard()
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise  # the sender's error, not the disk's
        raise Transient(
            f"a file cannot be stored: {error}", code=ErrorCode.BLOBS_UNREACHABLE
        ) from error


async def _take(chunks: AsyncIterator[bytes], incoming: _Incoming, limit_bytes: int) -> None:
    piece: list[bytes] = []
    piece_bytes = size_bytes = 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise Rejected(
                f"the file is longer than {limit_bytes} bytes", code=ErrorCode.FILE_TOO_LARGE
            )
        piece.append(chunk)
        piece_bytes += len(chunk)
        if piece_bytes >= _PIECE_BYTES:
            await asyncio.to_thread(incoming.write, piece)
            piece, piece_bytes = [], 0
    await asyncio.to_thread(incoming.write, piece)


class _Incoming:
    """A temporary file and the hashes of what was written to it."""

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(folder, prefix="")
        else:
            _sweep(Path(tempfile.gettempdir()), prefix=_PREFIX)  # others write there, too
        descriptor, path = tempfile.mkstemp(prefix=_PREFIX, dir=folder)
        self.path = Path(path)
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size_bytes = 0

    def write(self, piece: list[bytes]) -> None:
        for chunk in piece:
            self._file.write(chunk)
            self._sha256.update(chunk)
            self._md5.update(chunk)
            self._size_bytes += len(chunk)

    def finish(self) -> Uploaded:
        """Sync everything written to disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        md5 = base64.b64encode(self._md5.digest()).decode()
        return Uploaded(self._sha256.hexdigest(), md5, self._size_bytes)

    def discard(self) -> None:
        """Remove the temporary file; content that was moved to its place stays."""
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


def _sweep(folder: Path, *, prefix: str) -> None:
    """Remove files left behind by killed processes whose names begin like this."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                with suppress(FileNotFoundError, PermissionError):
                    if entry.stat(follow_symlinks=False).st_mtime < time.time() - _LEFTOVER_S:
                        Path(entry.path).unlink()
