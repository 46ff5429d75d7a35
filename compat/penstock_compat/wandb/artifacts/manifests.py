"""Manifests: the JSON in which a client lists a version's files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.errors import Rejected
from penstock_compat.wandb.values import json_text, loads
from penstock_storage.catalog.artifact_files import KnownContent
from penstock_storage.catalog.artifact_rows import File

__all__ = ["MOST_MANIFEST_BYTES", "digest_of", "located", "merged_manifest", "parse_manifest"]

MOST_MANIFEST_BYTES = 2**30
_LONGEST_PATH_BYTES = 2_000  # PostgreSQL's indexes take 2,700 at most
_SHOWN = 5


def parse_manifest(content: bytes) -> list[File]:
    """The files that a manifest lists; where they lie is not known yet. Raises `Rejected`."""
    return [_file(path, entry) for path, entry in _read(content)["contents"].items()]


def merged_manifest(parts: Sequence[bytes]) -> bytes:
    """One manifest of what several list; a later one wins. Raises `Rejected`."""
    merged = _read(parts[0])
    for part in parts[1:]:
        later = _read(part)
        merged = {**later, "contents": {**merged["contents"], **later["contents"]}}
    return json_text(merged).encode()


def digest_of(files: Sequence[File]) -> str:
    """The digest that a client computes of a version with these files, 32 hex digits."""
    hashed = hashlib.md5(b"wandb-artifact-manifest-v1\n", usedforsecurity=False)
    for file in sorted(files, key=lambda each: each.path):
        hashed.update(f"{file.path}:{file.digest}\n".encode(errors="replace"))
    return hashed.hexdigest()


def _read(content: bytes) -> dict[str, Any]:
    try:
        manifest = loads(content)
    except (ValueError, RecursionError):
        raise _bad("is not valid JSON") from None
    if not isinstance(manifest, dict) or manifest.get("version") != 1:
        raise _bad("is not of version 1")
    if not isinstance(manifest.get("contents"), dict):
        raise _bad("has no contents")
    return manifest


def located(files: list[File], known: Mapping[str, KnownContent]) -> list[File]:
    """The files with the blobs that hold them. Raises `Rejected` if any was not uploaded."""
    missing = [each.path for each in files if each.reference is None and each.digest not in known]
    if missing:
        names = ", ".join(missing[:_SHOWN]) + (" …" if len(missing) > _SHOWN else "")
        raise Rejected(
            f"the artifact is not complete: {len(missing)} of its {len(files)} files were not"
            f" uploaded, or not with the content that its manifest says: {names}",
            code="artifact_incomplete",
            status=409,
            hint="Log it again.",
        )
    return [each if each.reference is not None else _placed(each, known) for each in files]


def _placed(file: File, known: Mapping[str, KnownContent]) -> File:
    content = known[file.digest]
    return File(file.path, file.digest, content.size_bytes, content.sha256)


def _file(path: str, entry: Any) -> File:
    if not isinstance(entry, dict):
        raise _bad(f"says nothing of {path[:200]!r}")
    parts = path.split("/")
    if not path or "\0" in path or ".." in parts or parts[0] == "":
        raise _bad(f"lists {path[:200]!r}, which is not a path inside of an artifact")
    if len(path.encode(errors="replace")) > _LONGEST_PATH_BYTES:
        raise _bad(f"lists a path longer than {_LONGEST_PATH_BYTES} bytes: {path[:200]!r}")
    digest, reference, size = entry.get("digest"), entry.get("ref"), entry.get("size")
    if not isinstance(digest, str) or not isinstance(reference, str | None):
        raise _bad(f"has no valid digest or reference of {path[:200]!r}")
    size_bytes = size if isinstance(size, int) and 0 <= size < 2**62 else 0
    return File(path, digest.replace("\0", ""), size_bytes, None, reference)


def _bad(what: str) -> Rejected:
    return Rejected(f"the artifact's manifest {what}", code="bad_manifest")
