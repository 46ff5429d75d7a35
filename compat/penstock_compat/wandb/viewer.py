"""The owner of the client's key, and this server's features."""

from __future__ import annotations

from typing import Any

from penstock_compat.wandb.graphql.nodes import Node, connection, field
from penstock_compat.wandb.ids import encode_id
from penstock_compat.wandb.request_context import RequestContext

__all__ = ["Entity", "User", "ViewerQueries"]

FEATURES = ("FILESTREAM_GZIP", "TOTAL_COUNT_IN_FILE_CONNECTION", "UPDATE_RUN_STATE")
"""Supported features that change the client's behaviour; without the others it stays simple."""


class Entity(Node):
    """A user or a team: in Penstock both are a name that keys belong to."""

    typename = "Entity"

    def __init__(self, name: str) -> None:
        self._name = name

    @field
    def id(self) -> str:
        return encode_id("Entity", self._name)

    @field
    def name(self) -> str:
        return self._name

    @field
    def is_team(self) -> bool:
        return False

    @field
    def available(self) -> bool:
        return True

    @field
    def read_only(self) -> bool:
        return False

    @field
    def read_only_admin(self) -> bool:
        return False

    @field
    def entity_type(self) -> str:
        return "user"

    @field
    def private_only(self) -> bool:
        return True

    @field
    def storage_bytes(self) -> int:
        return 0

    @field
    def code_saving_enabled(self) -> bool:
        return True

    @field
    def default_access(self) -> str:
        return "PRIVATE"

    @field
    def is_paid(self) -> bool:
        return False

    @field
    def members(self) -> list[dict[str, Any]]:
        """Only the entity itself: keys belong to entities, not to people in them."""
        name = self._name
        return [
            {
                "__typename": "Member", "id": encode_id("User", name), "admin": False,
                "pending": False, "email": "", "username": name, "name": name, "photoUrl": None,
                "accountType": "MEMBER", "apiKey": None,
            }
        ]  # fmt: skip

    @field
    def organization(self) -> None:
        return None

    @field
    def photo_url(self) -> None:
        return None

    @field
    def user(self) -> User:
        return User(self._name)


class User(Node):
    """The owner of a key."""

    typename = "User"

    def __init__(self, entity: str, *, is_admin: bool = False) -> None:
        self._entity = entity
        self._is_admin = is_admin

    @field
    def id(self) -> str:
        return encode_id("User", self._entity)

    @field
    def name(self) -> str:
        return self._entity

    @field
    def username(self) -> str:
        return self._entity

    @field
    def entity(self) -> str:
        return self._entity

    @field
    def email(self) -> str:
        return ""

    @field
    def admin(self) -> bool:
        return self._is_admin

    @field
    def flags(self) -> str:
        return "{}"

    @field
    def deleted_at(self) -> None:
        return None

    @field
    def api_keys(self) -> dict[str, Any]:
        return connection("ApiKey", [])

    @field
    def teams(self) -> dict[str, Any]:
        return connection("Entity", [Entity(self._entity)])

    @field
    def organizations(self) -> list[None]:
        return []


class ViewerQueries(Node):
    """Root fields about the caller and the server."""

    context: RequestContext

    @field
    def viewer(self) -> User:
        principal = self.context.principal
        return User(principal.entity, is_admin="admin" in principal.scopes)

    @field
    def server_info(self) -> dict[str, Any]:
        return {
            "__typename": "ServerInfo",
            "features": [
                {"__typename": "ServerFeature", "name": name, "isEnabled": True}
                for name in FEATURES
            ],
            "cliVersionInfo": {"min_cli_version": "0.9.0", "max_cli_version": "9999.0.0"},
            "latestLocalVersionInfo": None,
        }

    @field
    async def entity(self, name: str = "") -> Entity | None:
        """Null for a name without keys and projects, and for one that the key may not read."""
        readable = self.context.readable(name)
        if readable is None:
            return None
        is_own = readable == self.context.principal.entity
        if not is_own and not await self.context.deps.catalog.has_entity(readable):
            return None
        return Entity(readable)

    @field
    def organization(self, name: str = "") -> None:
        """There are none; clients report that it was not found."""
        return None

    @field
    async def users(self, query: str = "") -> dict[str, Any]:
        """The readable ones whose name contains the text."""
        principal = self.context.principal
        names = {principal.entity}
        if "admin" in principal.scopes:
            names |= {row.entity for row in await self.context.deps.catalog.projects()}
        found = sorted(name for name in names if query.lower() in name.lower())
        # The exact match first: a client that wants only one takes it.
        found.sort(key=lambda name: name != query)
        return connection("User", [User(name) for name in found])

    @field
    def xxhash_digests_enabled(self) -> bool:
        return False
