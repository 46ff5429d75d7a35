"""The files of a run: listed, and their bytes."""

from __future__ import annotations

from pydantic import Field

from penstock_common.openapi import Operation, Raw
from penstock_web.models import Answered, Asked

__all__ = ["OPERATIONS", "FileQuery", "Files", "FilesQuery"]


class FilesQuery(Asked):
    pattern: str | None = Field(
        None, max_length=1_000, description="Only names like this: % is any text, _ any character."
    )
    limit: int = Field(1_000, ge=1, le=10_000, description="At most so many in an answer.")
    after: str | None = Field(
        None, max_length=2_000, description="Only names behind this: the `next` of the page before."
    )


class FileQuery(Asked):
    download: bool = Field(False, description="Let browsers save the file instead of showing it.")
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="If it is the file's, browsers may keep the answer for ever.",
    )


class FileOfRun(Answered):
    name: str
    size_bytes: int
    content_type: str
    sha256: str
    updated_at: float = Field(description="Seconds since 1970 UTC.")


class Files(Answered):
    files: list[FileOfRun]
    total: int = Field(
        description="How many the run has, or of these how many the pattern lets pass."
    )
    next: str | None = Field(description="`after` of the page that follows; null on the last one.")


OPERATIONS = [
    Operation(
        "GET", "/v1/runs/{entity}/{project}/{run}/files", "files", "The files of a run",
        answers={200: Files}, query=FilesQuery, needs_key=False,
    ),
    Operation(
        "GET", "/v1/runs/{entity}/{project}/{run}/files/{name}", "files",
        "The bytes of a file; `name` may hold slashes. `Range` and `If-None-Match` are understood.",
        answers={
            200: Raw("application/octet-stream", "The file, with a content type by its name."),
            206: Raw("application/octet-stream", "The part of it that `Range` asks for."),
            304: None,
        },
        query=FileQuery, errors=(400, 401, 404, 416), needs_key=False,
    ),
]  # fmt: skip
