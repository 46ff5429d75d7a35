"""Signed URLs for artifact content, because clients send no key with uploads and downloads."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from penstock_common.http.signing import Signer
from penstock_compat.wandb.request_context import RequestContext
from penstock_storage.catalog.artifacts.artifact_rows import File

__all__ = [
    "BLOB_PATH", "CONTENT_PATH", "MANIFEST_PATH", "Addresses", "blob_purpose", "content_purpose",
    "hex_of", "manifest_purpose",
]  # fmt: skip

CONTENT_PATH = "/wandb/artifacts/contents/{entity}/{md5}"
MANIFEST_PATH = "/wandb/artifacts/manifests/{number}"
BLOB_PATH = "/wandb/artifacts/blobs/{sha256}/{size}/{name}"

_UPLOAD_S = 24 * 3600
_DOWNLOAD_S = 6 * 3600


def content_purpose(entity: str, md5: str) -> str:
    """Upload of the content with this MD5 (hex digits) for an entity."""
    return f"artifact content {md5} of {entity}"


def manifest_purpose(number: int) -> str:
    """Upload of a manifest."""
    return f"artifact manifest {number}"


def blob_purpose(sha256: str, size: str) -> str:
    """Download of a blob."""
    return f"artifact blob {sha256} of {size} bytes"


def hex_of(md5: str) -> str | None:
    """A base64 MD5 as hex digits; None if it is invalid."""
    try:
        digest = base64.b64decode(md5, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == 16 else None


class Addresses:
    """Builds URLs for the calling client, below its own URL of this server."""

    def __init__(self, context: RequestContext) -> None:
        self._signer = Signer(context.deps.secret)
        self._key = context.principal.key
        self._base_url = context.base_url

    def of_content(self, entity: str, md5: str) -> str:
        """The URL to PUT content; `md5`: hex digits."""
        path = CONTENT_PATH.format(entity=quote(entity, safe=""), md5=md5)
        return self._signed("PUT", path, content_purpose(entity, md5), _UPLOAD_S)

    def of_manifest(self, number: int) -> str:
        """The URL to PUT a manifest."""
        path = MANIFEST_PATH.format(number=number)
        return self._signed("PUT", path, manifest_purpose(number), _UPLOAD_S)

    def of_blob(self, sha256: str, size_bytes: int, name: str) -> str:
        """The URL to GET a blob; browsers save it under the last part of `name`."""
        last = quote(name.rpartition("/")[2] or "file", safe="")
        path = BLOB_PATH.format(sha256=sha256, size=size_bytes, name=last)
        return self._signed("GET", path, blob_purpose(sha256, str(size_bytes)), _DOWNLOAD_S)

    def of_file(self, file: File) -> str:
        """The URL to GET a file: on this server, or its reference."""
        if file.sha256 is None:
            return file.reference or ""
        return self.of_blob(file.sha256, file.size_bytes, file.path)

    def _signed(self, method: str, path: str, purpose: str, valid_s: int) -> str:
        query: Mapping[str, str] = self._signer.sign(
            method, purpose, valid_s=valid_s, key=self._key
        )
        return f"{self._base_url}{path}?{urlencode(query)}"
