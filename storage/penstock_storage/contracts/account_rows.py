"""API keys as their owners see them, and sessions of the page. Times are microseconds since 1970."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Accounts", "KeyRow", "SessionRow"]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key without its secret. `last_used_at` and `expires_at` are 0 for never."""

    id: str
    entity: str
    scopes: frozenset[str]
    name: str
    created_at: int
    last_used_at: int
    expires_at: int
    revoked: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A login of the page. `id` is the SHA-256 of the cookie's content, in hex digits; `key` the id of
    the API key of the login."""

    id: str
    key: str
    created_at: int
    expires_at: int


class Accounts(Protocol):
    """The API keys and sessions of a catalog."""

    async def keys(self, entity: str | None = None) -> list[KeyRow]:
        """All keys, or those of one entity, the oldest first."""

    async def revoke(self, ids: Collection[str]) -> None:
        """Invalidate these keys and their sessions."""

    async def key_used(self, key_id: str, at: int) -> None:
        """Record that the key was used at this time."""

    async def open_session(self, session: SessionRow) -> None:
        """Store a new session, and delete those that have expired by its start."""

    async def session(self, session_id: str) -> SessionRow | None: ...

    async def end_session(self, session_id: str) -> None: ...

    async def end_sessions(self, key_id: str) -> None:
        """End all sessions of a key."""
