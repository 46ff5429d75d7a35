"""Sends files that users uploaded: whole or in part, and harmless.

An uploaded page or drawing must not run scripts with the server's origin: the headers of every reply
put it into a sandbox of its own, wherever it is opened.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import PenstockError, Rejected

__all__ = ["Content", "attachment", "content_type_of", "send_content"]

_LOG = logging.getLogger(__name__)
_SANDBOX = (
    "sandbox; default-src 'none'; img-src data:; media-src data:; font-src data:;"
    " style-src 'unsafe-inline'; frame-ancestors 'self'"
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_TEXTS = (
    "c", "cc", "cfg", "conf", "cpp", "cu", "diff", "env", "go", "h", "ini", "ipynb", "java", "jsonl",
    "log", "md", "ndjson", "out", "patch", "py", "r", "rs", "rst", "sh", "sql", "toml", "tsv", "txt",
    "yaml", "yml",
)  # fmt: skip
# All of these are code or markup that a browser might run: shown as plain text.
_ACTIVE = (
    "cjs", "css", "ecma", "es", "hta", "htc", "htaccess", "js", "jsx", "less", "mhtml", "mht", "mjs",
    "mml", "rdf", "rss", "sass", "scss", "shtml", "ts", "tsx", "vbs", "vtt", "vue", "webmanifest",
    "xht", "xhtml", "xml", "xsd", "xsl", "xslt",
)  # fmt: skip
_OTHERS = {
    "json": "application/json", "html": "text/html", "htm": "text/html", "csv": "text/csv",
    "svg": "image/svg+xml", "webp": "image/webp", "avif": "image/avif", "bmp": "image/bmp",
    "wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg", "mp3": "audio/mpeg",
    "m4a": "audio/mp4", "mp4": "video/mp4", "webm": "video/webm", "gif": "image/gif",
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "glb": "model/gltf-binary",
    "pdf": "application/pdf",
}  # fmt: skip
# Pages and drawings too, since the sandbox runs no scripts.
_HARMLESS = frozenset({*_OTHERS.values(), "text/plain", "image/tiff", "image/x-icon"})
_BYTES = "application/octet-stream"
_SHOWN = ("image/", "audio/", "video/", "text/", "application/json", "application/pdf")


def content_type_of(name: str) -> str:
    """The content type by the file name's extension: never that of a script, a style, a module or a
    manifest."""
    ending = name.rpartition(".")[2].lower()
    if ending in _TEXTS or ending in _ACTIVE:
        return "text/plain"
    return _OTHERS.get(ending, _BYTES)


@dataclass(frozen=True, slots=True)
class Content:
    """A file to send. `digest` is its SHA-256; `read` returns the bytes from a start to an end."""

    name: str
    size_bytes: int
    digest: str
    content_type: str
    read: Callable[[int, int], Awaitable[AsyncIterator[bytes]]]


def attachment(name: str) -> dict[str, str]:
    """The header with which browsers save a reply under this name."""
    return {"Content-Disposition": f"attachment; {_file_name(name)}"}


async def send_content(
    request: web.Request,
    content: Content,
    *,
    is_download: bool = False,
    cache_control: str = "private, no-cache",
    headers: dict[str, str] | None = None,
) -> web.StreamResponse:
    """The content, or the part that `Range` asks for; 304 if the caller has it.

    Raises `Rejected` (416) for a part that lies outside of it.
    """
    tag = f'"{content.digest}"'
    content_type = _harmless(content)
    answer_headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Cache-Control": cache_control,
        "Content-Security-Policy": _SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": _disposition(content.name, content_type, is_download=is_download),
        "Cross-Origin-Resource-Policy": "same-origin",
        **(headers or {}),
    }
    asked_for = [each.strip() for each in request.headers.get("If-None-Match", "").split(",")]
    if tag in asked_for or "*" in asked_for:
        return web.Response(status=304, headers=answer_headers)
    span = _span(request, content, tag)
    start, end = span or (0, content.size_bytes)
    response = web.StreamResponse(status=206 if span else 200, headers=answer_headers)
    response.headers["Content-Type"] = _typed(content_type)
    if span:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.size_bytes}"
    response.content_length = end - start
    if request.method == "HEAD" or start == end:
        await response.prepare(request)
        return response
    chunks = await content.read(start, end)
    await response.prepare(request)
    try:
        async for chunk in chunks:
            await response.write(chunk)
    except PenstockError as error:
        _LOG.warning("content_broke_off error=%s", error)
        # Abort the connection: a reply that ended early in an orderly way would look complete.
        if request.transport is not None:
            request.transport.abort()
    return response


def _span(request: web.Request, content: Content, tag: str) -> tuple[int, int] | None:
    """The requested part; None: all of it. Several parts at once are answered with all of it."""
    match = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if match is None or request.headers.get("If-Range", tag) != tag:
        return None
    first, last = match.groups()
    size = content.size_bytes
    if first:
        start, end = int(first), min(size, int(last) + 1) if last else size
    elif last:
        start, end = max(0, size - int(last)), size
    else:
        return None
    if start >= size or start >= end:
        raise Rejected(
            f"this file has {size} bytes, none in the range asked for", code=ErrorCode.BAD_RANGE
        )
    return start, end


def _harmless(content: Content) -> str:
    """The stored content type; by the name, if an older version stored one that is not harmless."""
    if content.content_type in _HARMLESS:
        return content.content_type
    return content_type_of(content.name)


def _disposition(name: str, content_type: str, *, is_download: bool) -> str:
    is_active = name.rpartition(".")[2].lower() in _ACTIVE
    is_shown = content_type.startswith(_SHOWN) and not is_active and not is_download
    return f"{'inline' if is_shown else 'attachment'}; {_file_name(name)}"


def _file_name(name: str) -> str:
    return f"filename*=UTF-8''{quote(name.rpartition('/')[2], safe='')}"


def _typed(content_type: str) -> str:
    is_text = content_type.startswith("text/") or content_type == "application/json"
    return f"{content_type}; charset=utf-8" if is_text else content_type
