"""`GET …/files`: lists a run's files and serves their content."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from penstock.errors import Broken
from penstock_common.http.contents import Content, send_content
from penstock_common.http.errors import json_response
from penstock_storage.blobs.blob_store import BlobStore
from penstock_storage.catalog.runs.run_files import RunFiles, file_name
from penstock_web.access import not_found
from penstock_web.models.files import DOWNLOAD_FILE, LIST_FILES
from penstock_web.requests import query_of
from penstock_web.runs import RunsHandler

__all__ = ["FilesHandler"]

_FOR_EVER = "private, max-age=31536000, immutable"
_ASK_AGAIN = "private, no-cache"


class FilesHandler:
    """Lists and serves run files."""

    def __init__(self, files: RunFiles, blobs: BlobStore, runs: RunsHandler) -> None:
        self._files = files
        self._blobs = blobs
        self._runs = runs

    async def list(self, request: web.Request) -> web.Response:
        """`GET /v1/runs/{entity}/{project}/{run}/files`"""
        row = await self._runs.found(request)
        query = query_of(request, LIST_FILES)
        found = await self._files.list(
            row.number, pattern=query.pattern, after=query.after, limit=query.limit + 1
        )
        page = found[: query.limit]
        return json_response(
            {
                "files": [
                    {
                        "name": file.name,
                        "size_bytes": file.size_bytes,
                        "content_type": file.mimetype,
                        "sha256": file.sha256,
                        "updated_at": file.updated_at / 1e6,
                    }
                    for file in page
                ],
                "total": await self._files.count(row.number, pattern=query.pattern),
                "next": page[-1].name if len(found) > len(page) else None,
            }
        )

    async def get(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/runs/{entity}/{project}/{run}/files/{name}`"""
        row = await self._runs.found(request)
        query = query_of(request, DOWNLOAD_FILE)
        name = file_name(request.match_info["name"])
        file = await self._files.get(row.number, name)
        if file is None:
            raise not_found(f"file {name} of run {row.entity}/{row.project}/{row.run}")

        async def read(start: int, end: int) -> AsyncIterator[bytes]:
            blob = await self._blobs.get(file.sha256, (start, end))
            if blob is None:
                raise Broken(f"the content of file {name} is not in the blob store")
            return blob.chunks

        content = Content(name, file.size_bytes, file.sha256, file.mimetype, read)
        return await send_content(
            request,
            content,
            is_download=query.download,
            cache_control=_FOR_EVER if query.sha256 == file.sha256 else _ASK_AGAIN,
        )
