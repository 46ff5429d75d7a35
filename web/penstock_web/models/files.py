"""A run's files: listing and content."""

from __future__ import annotations

from pydantic import Field

from penstock_common.http.openapi import Operation, Raw
from penstock_web.models import Answered, Asked

__all__ = ["DOWNLOAD_FILE", "LIST_FILES", "Files"]


class FilesQuery(Asked):
    pattern: str | None = Field(
        None,
        max_length=1_000,
        description="Only names that match this pattern: % is any text, _ any character.",
    )
    limit: int = Field(1_000, ge=1, le=10_000, description="Maximum number of files to return.")
    after: str | None = Field(None, max_length=2_000, description="`next` of the previous page.")


class FileQuery(Asked):
    download: bool = Field(
        False, description="Make browsers save the file instead of displaying it."
    )
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="If this is the file's hash, browsers may cache the answer forever.",
    )


class FileOfRun(Answered):
    name: str
    size_bytes: int
    content_type: str
    sha256: str
    updated_at: float = Field(description="Unix seconds.")


class Files(Answered):
    files: list[FileOfRun]
    total: int = Field(description="Number of files, or of files that match the pattern.")
    next: str | None = Field(description="`after` for the next page; null on the last page.")


LIST_FILES = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/files", "files", "List a run's files",
    answers={200: Files}, query=FilesQuery, needs_key=False,
)  # fmt: skip

DOWNLOAD_FILE = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/files/{name:.+}", "files",
    "Download a file; `name` may contain slashes. `Range` and `If-None-Match` are supported.",
    answers={
        200: Raw("application/octet-stream", "The file; its content type follows from its name."),
        206: Raw("application/octet-stream", "The part requested by `Range`."),
        304: None,
    },
    query=FileQuery, errors=(400, 401, 404, 416), needs_key=False,
)  # fmt: skip
