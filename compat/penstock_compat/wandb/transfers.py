"""Uploads and downloads of run files at signed URLs.

A body may have any size: it is stored as it arrives. An upload replaces an earlier file of the same
name, and appears in listings once it is completely stored.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, Rejected
from penstock_common.http.bodies import body_chunks
from penstock_common.http.contents import Content, content_type_of, send_content
from penstock_common.http.errors import json_response
from penstock_common.http.signing import Signer, check_link
from penstock_compat.wandb.dependencies import WandbDependencies
from penstock_compat.wandb.files import purpose
from penstock_storage.blobs.uploads import receive
from penstock_storage.catalog.runs.run_files import RunFile, file_name

__all__ = ["ANY_ORIGIN", "Transfers"]

ANY_ORIGIN = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_PREFLIGHT = {
    **ANY_ORIGIN,
    "Access-Control-Allow-Methods": "GET, HEAD, PUT, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "3600",
}


class Transfers:
    """Uploads and downloads run files."""

    def __init__(self, deps: WandbDependencies) -> None:
        self._deps = deps
        self._signer = Signer(deps.secret)

    async def put(self, request: web.Request) -> web.Response:
        """200 once the file is stored and listed."""
        number, name = await self._checked(request, "PUT")
        if not await self._deps.catalog.run_rows([number]):
            raise Rejected("this run no longer exists", code=ErrorCode.NOT_FOUND)
        started_us = time.time_ns() // 1000
        stored = await receive(
            body_chunks(request), self._deps.blobs, limit_bytes=self._deps.upload_bytes
        )
        file = RunFile(
            name,
            stored.sha256,
            stored.md5,
            stored.size_bytes,
            content_type_of(name),
            started_us,
        )
        await self._deps.files.put(number, file)
        return json_response({}, headers={"ETag": f'"{stored.sha256}"', **ANY_ORIGIN})

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The file, or a part of it."""
        number, name = await self._checked(request, "GET")
        file = await self._deps.files.get(number, name)
        if file is None:
            raise Rejected(f"file {name} was not found", code=ErrorCode.NOT_FOUND)

        async def read(start: int, end: int) -> AsyncIterator[bytes]:
            blob = await self._deps.blobs.get(file.sha256, (start, end))
            if blob is None:
                raise Broken(f"the content of file {name} is not in the blob store")
            return blob.chunks

        content = Content(name, file.size_bytes, file.sha256, file.mimetype, read)
        return await send_content(request, content, is_download=True, headers=ANY_ORIGIN)

    async def options(self, _: web.Request) -> web.Response:
        """Other sites' pages may use URLs that they were given."""
        return web.Response(status=204, headers=_PREFLIGHT)

    async def _checked(self, request: web.Request, method: str) -> tuple[int, str]:
        """The run's number and the name, if the URL's signature is valid."""
        number, name = request.match_info["number"], file_name(request.match_info["name"])
        if not number.isdecimal():
            raise Rejected("this is not a file's URL", code=ErrorCode.NOT_FOUND)
        wanted = purpose(int(number), name)
        await check_link(self._signer, self._deps.authenticator, method, wanted, request.query)
        return int(number), name
