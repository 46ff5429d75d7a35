"""API keys: created, parsed, hashed, checked. The secret part is never stored and never shown again.

A key is `penstock_<kind>_<id>_<secret><check>`: 10 characters of public id, 43 of secret (256 bits),
6 of checksum, so that scanners can find leaked keys and typing errors differ from unknown keys.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import string
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from penstock.error_codes import ErrorCode
from penstock.errors import PenstockError, Rejected
from penstock.ids import new_key_id, new_key_secret

__all__ = [
    "ApiKey", "Authenticator", "KeyAuthenticator", "Principal", "key_id_of", "known_key", "mint_key",
]  # fmt: skip

_ALPHABET = string.ascii_letters + string.digits
_KEY = re.compile(
    r"penstock_(?P<kind>[a-z]+)_(?P<id>\w{10})_(?P<secret>\w{43})(?P<check>\w{6})", re.A
)
_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_CACHE_S = 30.0
_MAX_CACHE_ENTRIES = 10_000
_NOTED_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key: its entity and what it may do. The secret itself is never stored."""

    id: str
    entity: str
    scopes: frozenset[str]
    secret_hash: bytes
    revoked: bool = False
    expires_at: int = 0
    """Microseconds since 1970; 0: never."""
    last_used_at: int = field(default=0, compare=False)
    """The same, to the minute; 0: never."""

    def is_good(self, now_s: float) -> bool:
        return not self.revoked and not self.has_expired(now_s)

    def has_expired(self, now_s: float) -> bool:
        return 0 < self.expires_at <= now_s * 1e6


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller. Scopes: `read`, `write`, `admin` (which includes both, for every entity). `key` is the
    public id of the caller's API key; '' for a visitor without one."""

    entity: str
    scopes: frozenset[str]
    key: str = field(default="", compare=False)

    def may_read(self, entity: str) -> bool:
        return "admin" in self.scopes or (entity == self.entity and "read" in self.scopes)

    def may_write(self, entity: str) -> bool:
        return "admin" in self.scopes or (entity == self.entity and "write" in self.scopes)


class Authenticator(Protocol):
    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Who sent these headers. Raises `Rejected` (401)."""

    async def is_good(self, key_id: str) -> bool:
        """Whether the key with this public id is still valid."""

    def forget(self, key_id: str) -> None:
        """Look this key up again the next time."""


def mint_key(
    kind: str, entity: str, scopes: frozenset[str], pepper: str, *, expires_at: int = 0
) -> tuple[ApiKey, str]:
    """A new key: what to store, and the text to show once. `expires_at`: µs since 1970, 0: never."""
    key_id, secret = new_key_id(), new_key_secret()
    head = f"penstock_{kind}_{key_id}_{secret}"
    stored = ApiKey(key_id, entity, scopes, _hash(pepper, secret), expires_at=expires_at)
    return stored, head + _checksum(head)


def known_key(text: str, entity: str, scopes: frozenset[str], pepper: str) -> ApiKey | None:
    """What to store of a key whose text is known; None if it is not a key."""
    match = _KEY.fullmatch(text)
    if match is None:
        return None
    return ApiKey(match["id"], entity, scopes, _hash(pepper, match["secret"]))


def key_id_of(text: str) -> str:
    """The public id in a key's text, right or wrong; '' if it does not look like a key."""
    match = _KEY.fullmatch(text.strip())
    return match["id"] if match is not None else ""


class KeyAuthenticator:
    """Checks bearer keys against the catalog; results are cached for 30 seconds.

    `used` is called, at most once a minute, with the id of a key and the time (µs since 1970) at which
    it was used.
    """

    def __init__(
        self,
        lookup: Callable[[str], Awaitable[ApiKey | None]],
        pepper: str,
        used: Callable[[str, int], Awaitable[None]] | None = None,
    ) -> None:
        self._lookup = lookup
        self._pepper = pepper
        self._used = used
        self._known: dict[str, tuple[float, Principal]] = {}
        self._good: dict[str, tuple[float, bool]] = {}
        self._noted: dict[str, float] = {}
        self._notes: set[asyncio.Task[None]] = set()
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
            raise _unauthorized(ErrorCode.NO_KEY, "this needs an API key")
        key = await self._check(text.strip())
        self._note_use(key)
        return self._remember(header, key)

    async def is_good(self, key_id: str) -> bool:
        """Whether the key with this public id is still valid; a revocation takes effect within 30 s."""
        known = self._good.get(key_id)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        key = await self._lookup(key_id)
        is_good = key is not None and key.is_good(time.time())
        _bounded(self._good)[key_id] = (time.monotonic() + _cache_s(key), is_good)
        return is_good

    def forget(self, key_id: str) -> None:
        """Look this key up again the next time: it was revoked here."""
        self._good.pop(key_id, None)
        stale = [header for header, (_, who) in self._known.items() if who.key == key_id]
        for header in stale:
            del self._known[header]

    async def _check(self, text: str) -> ApiKey:
        """The key of this text. Raises `Rejected` (401)."""
        match = _KEY.fullmatch(text)
        if match is None or _checksum(text[:-6]) != match["check"]:
            raise _unauthorized(
                ErrorCode.MALFORMED_KEY, "this is not a Penstock API key, or it is cut short"
            )
        key = await self._lookup(match["id"])
        # Hash even for an unknown id, so that the time taken reveals nothing about ids.
        given = _hash(self._pepper, match["secret"])
        if not hmac.compare_digest(given, key.secret_hash if key else bytes(32)) or key is None:
            raise _unauthorized(ErrorCode.UNKNOWN_KEY, "this API key is not known here")
        if key.revoked:
            raise _unauthorized(ErrorCode.REVOKED_KEY, "this API key was revoked")
        if key.has_expired(time.time()):
            raise _unauthorized(ErrorCode.EXPIRED_KEY, "this API key has expired")
        return key

    def _remember(self, header: str, key: ApiKey) -> Principal:
        principal = Principal(key.entity, key.scopes, key.id)
        _bounded(self._known)[header] = (time.monotonic() + _cache_s(key), principal)
        return principal

    def _note_use(self, key: ApiKey) -> None:
        now = time.time()
        noted = max(self._noted.get(key.id, 0.0), key.last_used_at / 1e6)
        if self._used is None or now - noted < _NOTED_EVERY_S:
            return
        _bounded(self._noted)[key.id] = now
        note = asyncio.create_task(self._note(self._used(key.id, int(now * 1e6))))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _note(self, noting: Awaitable[None]) -> None:
        try:
            await noting
        except PenstockError as error:  # a full disk must not lock anybody out
            _LOG.warning("key_use_not_noted error=%s", error)


def _bounded(cache: dict[str, _T]) -> dict[str, _T]:
    """The cache, emptied if it is full."""
    if len(cache) >= _MAX_CACHE_ENTRIES:
        cache.clear()
    return cache


def _cache_s(key: ApiKey | None) -> float:
    """How long a result may be cached."""
    if key is None or not key.expires_at:
        return _CACHE_S
    return min(_CACHE_S, max(0.0, key.expires_at / 1e6 - time.time()))


def _unauthorized(code: ErrorCode, message: str) -> Rejected:
    return Rejected(message, code=code)


def _hash(pepper: str, secret: str) -> bytes:
    # The secret has 256 random bits: a slow hash would add nothing.
    return hmac.digest(pepper.encode(), secret.encode(), hashlib.sha256)


def _checksum(head: str) -> str:
    number, digits = zlib.crc32(head.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, len(_ALPHABET))
        digits += _ALPHABET[digit]
    return digits
