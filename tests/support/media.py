"""Values, console lines and files of runs, written as workers and uploads would."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np

from penstock_common.http.contents import content_type_of
from penstock_storage.blobs.blob_store import BlobStore
from penstock_storage.blobs.uploads import receive
from penstock_storage.catalog.runs.run_files import RunFile, RunFiles
from penstock_storage.contracts.interface import PointStore

__all__ = ["png", "store_file", "store_lines", "store_values"]


async def store_values(
    store: PointStore,
    key: int,
    run: int,
    lane: int,
    values: dict[int, dict[str, Any]],
    seq: int = 1,
) -> None:
    """Media by step; the kind is each value's `_type`."""
    count = len(values)
    await store.insert(
        "values",
        {
            "key": np.full(count, key, np.uint32),
            "run": np.full(count, run, np.uint32),
            "lane": np.full(count, lane, np.uint16),
            "step": np.array(list(values), np.int64),
            "kind": [value["_type"] for value in values.values()],
            "json": [json.dumps(value) for value in values.values()],
            "seq": np.full(count, seq, np.uint32),
        },
    )


async def store_lines(
    store: PointStore, run: int, lane: int, lines: Sequence[tuple[int, str, str]], seq: int = 1
) -> None:
    """Console lines: (number, stream, text). Each has the time 1,700,000,000 s and its number."""
    count = len(lines)
    numbers = np.array([line for line, _, _ in lines], np.int64)
    await store.insert(
        "console",
        {
            "run": np.full(count, run, np.uint32),
            "lane": np.full(count, lane, np.uint16),
            "line": numbers,
            "stream": [stream for _, stream, _ in lines],
            "t": (1_700_000_000 + numbers) * 1_000_000,
            "text": [text for _, _, text in lines],
            "seq": np.full(count, seq, np.uint32),
        },
    )


async def store_file(
    files: RunFiles, blobs: BlobStore, run: int, name: str, content: bytes
) -> RunFile:
    """A file of a run, as an upload leaves it."""
    uploaded = await receive(_once(content), blobs, limit_bytes=len(content))
    file = RunFile(
        name, uploaded.sha256, uploaded.md5, uploaded.size_bytes, content_type_of(name), 1_000
    )
    await files.put(run, file)
    return file


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def png(pixels: Any) -> bytes:
    """An image file of these pixels, bytes of shape (height, width, 3)."""
    array = np.asarray(pixels, np.uint8)
    height, width, _ = array.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), array.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(rows.tobytes())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
