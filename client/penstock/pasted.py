"""Repairs pasted keys, addresses and names if the intent is clear.

Secrets are mounted with a trailing newline, addresses are pasted from a browser or a shell's `export`
line. Each function returns the value to use and a description of the change; ValueError describes
what is wrong with an impossible value.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from penstock.errors import Rejected

__all__ = [
    "UNSET",
    "Repaired",
    "checked_name",
    "repaired_key",
    "repaired_name",
    "repaired_proxy",
    "repaired_url",
]

UNSET = frozenset({"", "none", "null", "undefined"})
"""Values of variables that were meant to be empty."""
_QUOTES = "\"'`‘’“”"
_ASSIGNMENT = re.compile(r"(?:export\s+|set\s+|\$env:)?[A-Z][A-Z0-9_]*\s*=\s*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PAGES = re.compile(r"/(?:v1(?:/.*)?|authorize|graphql|healthz|readyz)$")
_PLAIN_NAME = re.compile(r"\w(?:[\w .-]{,126}\w)?", re.ASCII)
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?")
_HTTPS_PORT = 443
_MAX_NAME_BYTES = 128


class Repaired(NamedTuple):
    """The value to use and what was changed; `change` is empty if nothing was."""

    value: str
    change: str = ""


def repaired_key(text: str) -> Repaired:
    """An API key without characters that were copied along. Neither the result's `change` nor the
    error shows any part of it."""
    bare = _unwrapped(text)
    bare = re.sub(r"^(?:authorization:\s*)?bearer\s+", "", bare, flags=re.IGNORECASE)
    bare = bare.strip().strip("﻿​")
    words = bare.split()
    if len(words) > 1:
        keys = [word for word in words if word.startswith("penstock_")]
        bare = keys[0] if len(keys) == 1 else bare
    if bare.lower() in UNSET:
        return Repaired("", "it is empty" if text.strip() else "")
    if not (bare.isascii() and bare.isprintable()) or " " in bare:
        raise ValueError(
            "the API key contains spaces or invalid characters: copy it again, as one word"
        )
    return Repaired(
        bare, "" if bare == text else "surrounding spaces, quotes or line breaks were removed"
    )


def repaired_url(text: str) -> Repaired:
    """A server's address, `http(s)://host[:port][/path]`, without a trailing slash."""
    bare = "".join(_unwrapped(text).split("\n")[:1]).strip()
    schemes = list(_SCHEME.finditer(bare))
    scheme = schemes[-1].group(1).lower() if schemes else ""
    rest = bare[schemes[-1].end() :] if schemes and not bare[: schemes[0].start()] else bare
    if not scheme:
        rest = rest.lstrip("/")
        if rest.count(":") > 1 and not rest.startswith("["):
            rest = f"[{rest}]"
    elif scheme not in ("http", "https"):
        raise ValueError(_no_url(text, f"{scheme}:// is not supported"))
    parts = _split(text, f"{scheme or 'http'}://{rest}")
    host = _host(text, parts)
    port = _port(text, parts)
    scheme = scheme or ("https" if port == _HTTPS_PORT else "http")
    path = _PAGES.sub("", parts.path.rstrip("/")).rstrip("/")
    url = f"{scheme}://{host}{'' if port is None else f':{port}'}{path}"
    if url == text.rstrip("/"):
        return Repaired(url)
    if parts.username is not None or parts.password is not None:
        return Repaired(url, "the user name and password in it are ignored")
    return Repaired(url, f"{url} is used")


def checked_name(what: str, text: str) -> str:
    """A name that the server accepts for an entity, a project or a run."""
    if _PLAIN_NAME.fullmatch(text):
        return text
    # Imported here: the wire's checks load more than `penstock.init` usually needs.
    from penstock.wire import check_name  # noqa: PLC0415

    try:
        return check_name(what, text)
    except Rejected as error:
        raise ValueError(f"{error}. {error.hint}".strip()) from None


def repaired_name(what: str, text: str) -> Repaired:
    """The name with invalid characters replaced."""
    try:
        return Repaired(checked_name(what, text))
    except ValueError as error:
        mended = text.encode(errors="replace").decode()
        mended = "".join(
            "-" if c in "/\\" else " " if c < " " or c == "\x7f" else c for c in mended
        )
        mended = mended.strip().encode()[:_MAX_NAME_BYTES].decode(errors="ignore").strip()
        if mended in ("", ".", ".."):
            raise
        return Repaired(checked_name(what, mended), f"{error} {mended!r} is used.")


def repaired_proxy(text: str) -> str:
    """An HTTP proxy's URL; errors do not show its password."""
    bare = _unwrapped(text)
    bare = bare if "://" in bare else f"http://{bare}"
    try:
        parts = urlsplit(bare)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
        parts = urlsplit("")
    if not usable:
        raise ValueError("it is not http://host:port")
    if parts.scheme.lower() not in ("http", "https"):
        raise ValueError(f"{parts.scheme}:// proxies are not supported, only http://")
    return bare


def _unwrapped(text: str) -> str:
    """The text without a leading `export X=`, surrounding quotes and spaces."""
    bare = text.strip()
    bare = _ASSIGNMENT.sub("", bare, count=1) if _ASSIGNMENT.match(bare) else bare
    return bare.strip().rstrip(";").strip().strip(_QUOTES).strip()


def _split(text: str, url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ValueError(_no_url(text, str(error))) from None


def _host(text: str, parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    if ":" in host:
        return f"[{host}]"
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host):
        raise ValueError(_no_url(text, "it has no host"))
    return host


def _port(text: str, parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(_no_url(text, "its port is not a number from 1 to 65535"))
    return port


def _no_url(text: str, why: str) -> str:
    shown = re.sub(r"[^/\s]*@", "…@", text.strip())[:200]
    return f"{shown!r} is not a server address ({why}): use http://host:port"
