"""Uploads and downloads of artifact content at signed URLs."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, Rejected
from penstock_common.http.bodies import body_chunks
from penstock_common.http.contents import Content, content_type_of, send_content
from penstock_common.http.signing import Signer, check_link
from penstock_compat.wandb.artifacts.addresses import (
    blob_purpose,
    content_purpose,
    hex_of,
    manifest_purpose,
)
from penstock_compat.wandb.artifacts.manifests import MAX_MANIFEST_BYTES
from penstock_compat.wandb.dependencies import WandbDependencies
from penstock_compat.wandb.request_context import authenticate
from penstock_compat.wandb.transfers import ANY_ORIGIN
from penstock_storage.blobs.uploads import Uploaded, receive
from penstock_storage.catalog.artifacts.artifact_files import KnownContent

__all__ = ["ArtifactTransfers"]

_LOG = logging.getLogger(__name__)
_FOR_EVER = "private, max-age=31536000, immutable"


class ArtifactTransfers:
    """Handlers of the URLs built by `Addresses` and of those that clients build themselves."""

    def __init__(self, deps: WandbDependencies) -> None:
        self._deps = deps
        self._signer = Signer(deps.secret)

    async def put_content(self, request: web.Request) -> web.Response:
        """`PUT /wandb/artifacts/contents/{entity}/{md5}`: a file of an artifact."""
        entity, digits = request.match_info["entity"], request.match_info["md5"]
        await self._check(request, "PUT", content_purpose(entity, digits))
        uploaded = await self._receive(request, self._deps.upload_bytes)
        if hex_of(uploaded.md5) != digits:
            raise _other_content(digits, uploaded)
        content = KnownContent(uploaded.sha256, uploaded.size_bytes)
        await self._deps.artifacts.files.keep(entity, uploaded.md5, content, _now())
        return web.Response(headers={"ETag": f'"{digits}"', **ANY_ORIGIN})

    async def put_manifest(self, request: web.Request) -> web.Response:
        """`PUT /wandb/artifacts/manifests/{number}`"""
        number = int(request.match_info["number"])
        await self._check(request, "PUT", manifest_purpose(number))
        found = await self._deps.artifacts.files.manifest(number)
        if found is None:
            raise Rejected("this manifest was not created", code=ErrorCode.NOT_FOUND)
        uploaded = await self._receive(request, MAX_MANIFEST_BYTES)
        declared = found[1]
        if hex_of(declared) and hex_of(declared) != hex_of(uploaded.md5):
            raise _other_content(declared, uploaded)
        await self._deps.artifacts.files.fill_manifest(number, uploaded.sha256)
        return web.Response(headers={"ETag": f'"{hex_of(uploaded.md5)}"', **ANY_ORIGIN})

    async def get_blob(self, request: web.Request) -> web.StreamResponse:
        """`GET /wandb/artifacts/blobs/{sha256}/{size}/{name}`"""
        sha256, size = request.match_info["sha256"], request.match_info["size"]
        await self._check(request, "GET", blob_purpose(sha256, size))
        name = request.match_info["name"]
        return await self._send(request, KnownContent(sha256, int(size)), name)

    async def get_content(self, request: web.Request) -> web.StreamResponse:
        """`GET /artifacts/{entity}/{md5}` and `GET /artifactsV2/…`: with a key, by the content's MD5,
        for clients that have a manifest and did not request a URL."""
        principal = await authenticate(self._deps.authenticator, request.headers)
        entity, digits = request.match_info["entity"], request.match_info["md5"]
        if not principal.may_read(entity):
            raise _no_content()
        md5 = base64.b64encode(bytes.fromhex(digits)).decode()
        found = (await self._deps.artifacts.files.known(entity, [md5])).get(md5)
        if found is None:
            raise _no_content()
        return await self._send(request, found, request.match_info.get("name", digits))

    async def _check(self, request: web.Request, method: str, purpose: str) -> None:
        await check_link(self._signer, self._deps.authenticator, method, purpose, request.query)

    async def _receive(self, request: web.Request, limit_bytes: int) -> Uploaded:
        return await receive(body_chunks(request), self._deps.blobs, limit_bytes=limit_bytes)

    async def _send(
        self, request: web.Request, content: KnownContent, name: str
    ) -> web.StreamResponse:
        return await send_content(
            request,
            Content(
                name,
                content.size_bytes,
                content.sha256,
                content_type_of(name),
                self._reading(content.sha256),
            ),
            is_download=True,
            cache_control=_FOR_EVER,
            headers=ANY_ORIGIN,
        )

    def _reading(self, sha256: str) -> Callable[[int, int], Awaitable[AsyncIterator[bytes]]]:
        async def read(start: int, end: int) -> AsyncIterator[bytes]:
            blob = await self._deps.blobs.get(sha256, (start, end))
            if blob is None:
                raise Broken(f"the artifact content {sha256} is not in the blob store")
            return blob.chunks

        return read


def _other_content(declared: str, uploaded: Uploaded) -> Rejected:
    _LOG.warning("artifact_content_refused declared=%s got=%s", declared, uploaded.md5)
    return Rejected(
        f"the content's MD5 is {hex_of(uploaded.md5)} ({uploaded.md5}), not {declared}",
        code=ErrorCode.DIGEST_MISMATCH,
        hint="It changed in transit or while it was read. Upload it again.",
    )


def _no_content() -> Rejected:
    return Rejected("this artifact content was not found", code=ErrorCode.NOT_FOUND)


def _now() -> int:
    return time.time_ns() // 1000
