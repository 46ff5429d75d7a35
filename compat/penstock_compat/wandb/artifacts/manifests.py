"""Manifests: a client's JSON list of a version's files. Do not call these on an event loop."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.payloads import mapping_of
from penstock_compat.wandb.artifacts.manifest_text import ManifestText, bad_manifest
from penstock_compat.wandb.values import json_text
from penstock_storage.catalog.artifacts.artifact_files import KnownContent
from penstock_storage.catalog.artifacts.artifact_rows import File

__all__ = [
    "MAX_FILES", "MAX_MANIFEST_BYTES", "check_region", "digest_of", "located", "merged_manifest", "read_manifest",
]  # fmt: skip

MAX_MANIFEST_BYTES = 256 * 2**20
MAX_FILES = 500_000
_MAX_PATH_BYTES = 2_000  # PostgreSQL's indexes allow at most 2,700
_REGION = "default"
_SHOWN = 5
_PIECE = 1_000


def read_manifest(content: BinaryIO) -> list[File]:
    """The files in a manifest, not located yet. Raises `Rejected`."""
    files: dict[str, File] = {}
    text = ManifestText(content)
    for path, entry, _ in text.entries():
        file = _file(path, entry)
        files[file.path] = file
        _check_count(files)
    policy = mapping_of(text.fields.get("storagePolicyConfig"))
    check_region(policy.get("storageRegion"))
    return list(files.values())


def check_region(region: object) -> None:
    """Raises `Rejected` for a storage region: the store has no regions."""
    if region not in (None, "", _REGION):
        raise Rejected(f"invalid storageRegion: {str(region)[:200]}", code=ErrorCode.BAD_REGION)


def merged_manifest(parts: Sequence[BinaryIO]) -> Iterator[bytes]:
    """Merge several manifests into the pieces of one; later entries win. Raises `Rejected`."""
    contents: dict[str, str] = {}
    fields: dict[str, Any] = {}
    for part in parts:
        text = ManifestText(part)
        for path, _, entry in text.entries():
            contents[path] = entry
            _check_count(contents)
        fields = text.fields
    opening = json_text(fields)[:-1]
    yield f'{opening}{"," if fields else ""}"contents":{{'.encode()
    paths = list(contents)
    for start in range(0, len(paths), _PIECE):
        piece = ",".join(
            f"{json_text(path)}:{contents[path]}" for path in paths[start : start + _PIECE]
        )
        yield f"{',' if start else ''}{piece}".encode(errors="replace")
    yield b"}}"


def digest_of(files: Sequence[File]) -> str:
    """The digest that a client computes for a version with these files, 32 hex digits."""
    hashed = hashlib.md5(b"wandb-artifact-manifest-v1\n", usedforsecurity=False)
    for file in sorted(files, key=lambda each: each.path):
        hashed.update(f"{file.path}:{file.digest}\n".encode(errors="replace"))
    return hashed.hexdigest()


def located(files: Sequence[File], known: Mapping[str, KnownContent]) -> list[File]:
    """The files with their blobs. Raises `Rejected` if any was not uploaded."""
    missing = [each.path for each in files if each.reference is None and each.digest not in known]
    if missing:
        names = ", ".join(missing[:_SHOWN]) + (" …" if len(missing) > _SHOWN else "")
        raise Rejected(
            f"the artifact is not complete: {len(missing)} of its {len(files)} files were not"
            f" uploaded, or their content differs from the manifest: {names}",
            code=ErrorCode.ARTIFACT_INCOMPLETE,
        )
    return [each if each.reference is not None else _placed(each, known) for each in files]


def _placed(file: File, known: Mapping[str, KnownContent]) -> File:
    content = known[file.digest]
    return File(file.path, file.digest, content.size_bytes, content.sha256)


def _file(path: str, entry: Any) -> File:
    path = _plain(path)
    if not isinstance(entry, dict):
        bad_manifest(f"has no entry for {path[:200]!r}")
    parts = path.split("/")
    if not path or "\0" in path or ".." in parts or parts[0] == "":
        bad_manifest(f"lists {path[:200]!r}, which is not a path inside an artifact")
    if len(path.encode()) > _MAX_PATH_BYTES:
        bad_manifest(f"lists a path longer than {_MAX_PATH_BYTES} bytes: {path[:200]!r}")
    digest, reference, size = entry.get("digest"), entry.get("ref"), entry.get("size")
    if not isinstance(digest, str) or not isinstance(reference, str | None):
        bad_manifest(f"has no valid digest or reference for {path[:200]!r}")
    size_bytes = size if isinstance(size, int) and 0 <= size < 2**62 else 0
    where = None if reference is None else _plain(reference)
    return File(path, _plain(digest).replace("\0", ""), size_bytes, None, where)


def _plain(text: str) -> str:
    """Replace lone surrogates, which JSON can escape but UTF-8 cannot encode, with question marks."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _check_count(found: Mapping[str, object]) -> None:
    if len(found) > MAX_FILES:
        raise Rejected(
            f"an artifact may have at most {MAX_FILES:,} files", code=ErrorCode.TOO_MANY_FILES
        )
