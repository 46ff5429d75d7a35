"""API keys: made, read, hashed, checked. The secret part is never stored and never printed again.

A key is `penstock_<kind>_<id>_<secret><check>`: 10 characters of public id, 43 of secret (256 bits),
6 of checksum, so that scanners can find leaked ones and typing errors are told apart from strangers.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from penstock.errors import Rejected

__all__ = ["ApiKey", "Authenticator", "KeyAuthenticator", "Principal", "known_key", "mint_key"]

_ALPHABET = string.ascii_letters + string.digits
_KEY = re.compile(r"penstock_(?P<kind>[a-z]+)_(?P<id>\w{10})_(?P<secret>\w{43})(?P<check>\w{6})")
_CACHE_S = 30.0
_CACHE_ENTRIES = 10_000
_HINT = "Send `Authorization: Bearer penstock_…`; `penstock up` prints the key."


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key: who it speaks for and what it may do. The secret itself is never stored."""

    id: str
    entity: str
    scopes: frozenset[str]
    secret_hash: bytes
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. Scopes: `read`, `write`, `admin` (which includes both, for every entity)."""

    entity: str
    scopes: frozenset[str]

    def may_read(self, entity: str) -> bool:
        return "admin" in self.scopes or (entity == self.entity and "read" in self.scopes)

    def may_write(self, entity: str) -> bool:
        return "admin" in self.scopes or (entity == self.entity and "write" in self.scopes)


class Authenticator(Protocol):
    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Who sent these headers. Raises `Rejected` (401)."""


def mint_key(kind: str, entity: str, scopes: frozenset[str], pepper: str) -> tuple[ApiKey, str]:
    """A new key: what to store, and the text to show once."""
    key_id, secret = _random(10), _random(43)
    head = f"penstock_{kind}_{key_id}_{secret}"
    stored = ApiKey(key_id, entity, scopes, _hash(pepper, secret))
    return stored, head + _checksum(head)


def known_key(text: str, entity: str, scopes: frozenset[str], pepper: str) -> ApiKey | None:
    """What to store of a key whose text is known; None if it is no key."""
    match = _KEY.fullmatch(text)
    if match is None:
        return None
    return ApiKey(match["id"], entity, scopes, _hash(pepper, match["secret"]))


class KeyAuthenticator:
    """Checks bearer keys against the catalog; what it found is good for 30 seconds."""

    def __init__(self, lookup: Callable[[str], Awaitable[ApiKey | None]], pepper: str) -> None:
        self._lookup = lookup
        self._pepper = pepper
        self._known: dict[str, tuple[float, Principal]] = {}
        self.hits = 0
        self.misses = 0

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """The principal of the `Authorization` header. Raises `Rejected` (401)."""
        header = headers.get("Authorization", "")
        known = self._known.get(header)
        if known is not None and known[0] > time.monotonic():
            self.hits += 1
            return known[1]
        self.misses += 1
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise _unauthorized("no_key", "this needs an API key")
        return await self._remember(header, await self.check(text.strip()))

    async def check(self, text: str) -> Principal:
        """The principal of a key's text. Raises `Rejected` (401)."""
        match = _KEY.fullmatch(text)
        if match is None or _checksum(text[:-6]) != match["check"]:
            raise _unauthorized(
                "malformed_key", "this is not a Penstock API key, or it is cut short"
            )
        key = await self._lookup(match["id"])
        # Hash even for an unknown id, so that the time taken does not tell ids apart.
        given = _hash(self._pepper, match["secret"])
        if not hmac.compare_digest(given, key.secret_hash if key else bytes(32)) or key is None:
            raise _unauthorized("unknown_key", "this API key is not known here")
        if key.revoked:
            raise _unauthorized("revoked_key", "this API key was revoked")
        return Principal(key.entity, key.scopes)

    async def _remember(self, header: str, principal: Principal) -> Principal:
        if len(self._known) >= _CACHE_ENTRIES:
            self._known.clear()
        self._known[header] = (time.monotonic() + _CACHE_S, principal)
        return principal


def _unauthorized(code: str, message: str) -> Rejected:
    return Rejected(message, code=code, status=401, hint=_HINT)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _hash(pepper: str, secret: str) -> bytes:
    # The secret has 256 random bits: a slow hash would add nothing.
    return hmac.digest(pepper.encode(), secret.encode(), hashlib.sha256)


def _checksum(head: str) -> str:
    number, digits = zlib.crc32(head.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, len(_ALPHABET))
        digits += _ALPHABET[digit]
    return digits
