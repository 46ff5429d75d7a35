"""Artifacts as uploads leave them, put straight into the stores."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping

from penstock_storage.blobs.blob_store import BlobStore
from penstock_storage.blobs.uploads import receive
from penstock_storage.catalog.artifacts.artifact_catalog import Artifacts
from penstock_storage.catalog.artifacts.artifact_files import KnownContent
from penstock_storage.catalog.artifacts.artifact_rows import File, Version
from penstock_storage.catalog.artifacts.artifact_versions import NewVersion

__all__ = ["store_artifact"]


async def store_artifact(
    artifacts: Artifacts,
    blobs: BlobStore,
    project: int,
    name: str,
    files: Mapping[str, bytes],
    *,
    entity: str,
    type: str = "dataset",
    aliases: tuple[str, ...] = (),
    references: Mapping[str, str] | None = None,
    run: int | None = None,
) -> Version:
    """A committed version with these files: path -> content, or URL."""
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
    new = NewVersion(project, type, name, digest, metadata='{"k": 1}', aliases=aliases, run=run)
    version = await artifacts.versions.begin(new, 1_000_000)
    listed = [File(path, "etag", 3, None, url) for path, url in (references or {}).items()]
    for path, content in files.items():
        stored = await receive(_once(content), blobs, limit_bytes=len(content))
        known = KnownContent(stored.sha256, stored.size_bytes)
        await artifacts.files.keep(entity, stored.md5, known, 1_000_000)
        listed.append(File(path, stored.md5, stored.size_bytes, stored.sha256))
    manifest = await receive(_once(b"{}"), blobs, limit_bytes=2)
    await artifacts.versions.commit(version.number, manifest.sha256, listed, 2_000_000)
    committed = await artifacts.versions.get(version.number)
    assert committed is not None
    return committed


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
