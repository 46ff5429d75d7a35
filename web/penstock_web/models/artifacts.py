"""Artifacts: a project's collections, their versions, and the versions' files."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from penstock_common.http.openapi import Operation, Raw
from penstock_web.models import Answered, Asked

__all__ = [
    "DOWNLOAD_ARTIFACT_FILE",
    "LIST_ARTIFACT_FILES",
    "LIST_COLLECTIONS",
    "LIST_RUN_ARTIFACTS",
    "LIST_VERSIONS",
    "ArtifactCollections",
    "ArtifactFiles",
    "ArtifactVersions",
    "ArtifactsOfRun",
]

_LIMIT = Field(1_000, ge=1, le=10_000, description="Maximum number of entries to return.")
_NUMBER = Field(None, ge=0, lt=2**53, description="`next` of the previous page.")
_NEXT = "`after` for the next page; null on the last page."


class CollectionsQuery(Asked):
    type: str | None = Field(None, max_length=1_000, description="Only collections of this type.")
    limit: int = Field(100, ge=1, le=1_000, description="Maximum number of entries to return.")
    after: int | None = _NUMBER


class VersionsQuery(Asked):
    limit: int = _LIMIT
    after: int | None = _NUMBER


class FilesOfArtifactQuery(Asked):
    limit: int = _LIMIT
    after: str | None = Field(None, max_length=2_000, description="`next` of the previous page.")


class FileOfArtifactQuery(Asked):
    download: bool = Field(False, description="No effect: browsers always save artifact files.")


class ArtifactsOfRunQuery(Asked):
    limit: int = Field(
        1_000, ge=1, le=10_000, description="Maximum number of entries in each list."
    )


class ArtifactVersion(Answered):
    """A version of an artifact, under its name in the collection that lists it."""

    entity: str
    project: str
    name: str = Field(description="The collection's name.")
    type: str
    version: str = Field(description="v0, v1 …")
    aliases: list[str]
    tags: list[str]
    description: str
    metadata: dict[str, Any]
    digest: str = Field(description="Equal for versions with identical files.")
    size_bytes: int
    files: int = Field(description="Number of files.")
    run: str | None = Field(description="Id of the run that logged it, if known.")
    created_at: float = Field(description="Unix seconds.")
    updated_at: float = Field(description="Unix seconds.")


class ArtifactCollection(Answered):
    name: str
    type: str
    kind: str = Field(
        description="sequence: runs log versions to it; portfolio: versions are linked to it."
    )
    description: str
    tags: list[str]
    versions: int = Field(description="Number of versions.")
    latest: ArtifactVersion | None
    created_at: float = Field(description="Unix seconds.")
    updated_at: float = Field(description="Unix seconds.")


class ArtifactCollections(Answered):
    types: list[str]
    collections: list[ArtifactCollection]
    total: int
    next: int | None = Field(description=_NEXT)


class ArtifactVersions(Answered):
    versions: list[ArtifactVersion] = Field(description="Newest first.")
    total: int
    next: int | None = Field(description=_NEXT)


class FileOfArtifact(Answered):
    path: str
    size_bytes: int
    digest: str = Field(
        description="The MD5 in base64; for references, any string that identifies the content."
    )
    content_type: str
    reference: str | None = Field(description="Where the content is stored, if not on this server.")


class ArtifactFiles(Answered):
    files: list[FileOfArtifact]
    total: int
    next: str | None = Field(description=_NEXT)


class ArtifactsOfRun(Answered):
    logged: list[ArtifactVersion]
    used: list[ArtifactVersion]


_PROJECT = "/v1/projects/{entity}/{project}/artifacts"
_FILES = f"{_PROJECT}/{{name}}/{{version}}/files"
LIST_COLLECTIONS = Operation(
    "GET", _PROJECT, "artifacts", "List a project's artifact collections",
    answers={200: ArtifactCollections}, query=CollectionsQuery, needs_key=False,
)  # fmt: skip

LIST_VERSIONS = Operation(
    "GET", f"{_PROJECT}/{{name}}", "artifacts", "List the versions in a collection",
    answers={200: ArtifactVersions}, query=VersionsQuery, needs_key=False,
)  # fmt: skip

LIST_ARTIFACT_FILES = Operation(
    "GET", _FILES, "artifacts", "List the files of a version; `version` is a number such as v3, or an alias",
    answers={200: ArtifactFiles}, query=FilesOfArtifactQuery, needs_key=False,
)  # fmt: skip

DOWNLOAD_ARTIFACT_FILE = Operation(
    "GET", f"{_FILES}/{{path:.+}}", "artifacts",
    "Download a file; `path` may contain slashes. `Range` and `If-None-Match` are supported.",
    answers={
        200: Raw("application/octet-stream", "The file; its content type follows from its name."),
        206: Raw("application/octet-stream", "The part requested by `Range`."),
        304: None,
    },
    query=FileOfArtifactQuery, errors=(400, 401, 404, 416), needs_key=False,
)  # fmt: skip

LIST_RUN_ARTIFACTS = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/artifacts", "artifacts",
    "List the artifacts that a run logged and used",
    answers={200: ArtifactsOfRun}, query=ArtifactsOfRunQuery, needs_key=False,
)  # fmt: skip
