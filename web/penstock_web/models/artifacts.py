"""Artifacts: collections of a project, their versions, the files of these."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from penstock_common.openapi import Operation, Raw
from penstock_web.models import Answered, Asked

__all__ = [
    "OPERATIONS", "ArtifactCollections", "ArtifactFiles", "ArtifactVersions", "ArtifactsOfRun",
    "ArtifactsOfRunQuery", "CollectionsQuery", "FileOfArtifactQuery", "FilesOfArtifactQuery",
    "VersionsQuery",
]  # fmt: skip

_LIMIT = Field(1_000, ge=1, le=10_000, description="At most so many in an answer.")
_NUMBER = Field(
    None, ge=0, lt=2**53, description="Only those behind this: `next` of the page before."
)
_NEXT = "`after` of the page that follows; null on the last one."


class CollectionsQuery(Asked):
    type: str | None = Field(None, max_length=1_000, description="Only collections of this type.")
    limit: int = Field(100, ge=1, le=1_000, description="At most so many in an answer.")
    after: int | None = _NUMBER


class VersionsQuery(Asked):
    limit: int = _LIMIT
    after: int | None = _NUMBER


class FilesOfArtifactQuery(Asked):
    limit: int = _LIMIT
    after: str | None = Field(
        None, max_length=2_000, description="Only paths behind this: the `next` of the page before."
    )


class FileOfArtifactQuery(Asked):
    download: bool = Field(False, description="Browsers save the file in any case.")


class ArtifactsOfRunQuery(Asked):
    limit: int = Field(1_000, ge=1, le=10_000, description="At most so many in each list.")


class ArtifactVersion(Answered):
    """A version of an artifact, named in the collection where it was found."""

    entity: str
    project: str
    name: str = Field(description="The collection's.")
    type: str
    version: str = Field(description="v0, v1 …")
    aliases: list[str]
    tags: list[str]
    description: str
    metadata: dict[str, Any]
    digest: str = Field(description="Equal for versions with equal files.")
    size_bytes: int
    files: int = Field(description="How many files it has.")
    run: str | None = Field(description="The id of the run that logged it, if that is known.")
    created_at: float = Field(description="Seconds since 1970 UTC.")
    updated_at: float = Field(description="Seconds since 1970 UTC.")


class ArtifactCollection(Answered):
    name: str
    type: str
    kind: str = Field(description="sequence: runs log into it; portfolio: it links versions.")
    description: str
    tags: list[str]
    versions: int = Field(description="How many versions it holds.")
    latest: ArtifactVersion | None
    created_at: float = Field(description="Seconds since 1970 UTC.")
    updated_at: float = Field(description="Seconds since 1970 UTC.")


class ArtifactCollections(Answered):
    types: list[str]
    collections: list[ArtifactCollection]
    total: int
    next: int | None = Field(description=_NEXT)


class ArtifactVersions(Answered):
    versions: list[ArtifactVersion] = Field(description="The newest first.")
    total: int
    next: int | None = Field(description=_NEXT)


class FileOfArtifact(Answered):
    path: str
    size_bytes: int
    digest: str = Field(description="The MD5 in base64; of references whatever tells them apart.")
    content_type: str
    reference: str | None = Field(description="Where the bytes lie, if not here.")


class ArtifactFiles(Answered):
    files: list[FileOfArtifact]
    total: int
    next: str | None = Field(description=_NEXT)


class ArtifactsOfRun(Answered):
    logged: list[ArtifactVersion]
    used: list[ArtifactVersion]


_PROJECT = "/v1/projects/{entity}/{project}/artifacts"
_FILES = f"{_PROJECT}/{{name}}/{{version}}/files"
OPERATIONS = [
    Operation(
        "GET", _PROJECT, "artifacts", "The artifact collections of a project",
        answers={200: ArtifactCollections}, query=CollectionsQuery, needs_key=False,
    ),
    Operation(
        "GET", f"{_PROJECT}/{{name}}", "artifacts", "The versions in a collection",
        answers={200: ArtifactVersions}, query=VersionsQuery, needs_key=False,
    ),
    Operation(
        "GET", _FILES, "artifacts", "The files of a version; `version` is v3, or an alias",
        answers={200: ArtifactFiles}, query=FilesOfArtifactQuery, needs_key=False,
    ),
    Operation(
        "GET", f"{_FILES}/{{path}}", "artifacts",
        "The bytes of a file; `path` may hold slashes. `Range` and `If-None-Match` are understood.",
        answers={
            200: Raw("application/octet-stream", "The file, with a content type by its name."),
            206: Raw("application/octet-stream", "The part of it that `Range` asks for."),
            304: None,
        },
        query=FileOfArtifactQuery, errors=(400, 401, 404, 416), needs_key=False,
    ),
    Operation(
        "GET", "/v1/runs/{entity}/{project}/{run}/artifacts", "artifacts",
        "The artifacts that a run logged and used",
        answers={200: ArtifactsOfRun}, query=ArtifactsOfRunQuery, needs_key=False,
    ),
]  # fmt: skip
