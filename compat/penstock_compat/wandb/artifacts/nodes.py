"""Artifacts and collections as nodes."""

from __future__ import annotations

from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_compat.wandb.artifacts.addresses import Addresses
from penstock_compat.wandb.artifacts.facts import (
    collection_typename,
    project_info,
    run_info,
    tag_infos,
)
from penstock_compat.wandb.artifacts.fields import VersionFields
from penstock_compat.wandb.artifacts.files import file_connection, files_of_entries
from penstock_compat.wandb.graphql.nodes import Node, connection, field
from penstock_compat.wandb.ids import encode_id
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.values import loads_map, timestamp
from penstock_storage.catalog.artifacts.artifact_members import LATEST
from penstock_storage.catalog.artifacts.artifact_rows import (
    COMMITTED,
    Alias,
    Collection,
    Member,
    Version,
)
from penstock_storage.catalog.artifacts.artifact_tables import SEQUENCE

__all__ = ["ArtifactNode", "CollectionNode", "MemberNode", "page_size"]

_MAX_PAGE_SIZE = 10_000


def page_size(first: int) -> int:
    """The number of nodes on a page for which `first` were requested."""
    return max(0, min(first, _MAX_PAGE_SIZE))


class ArtifactNode(VersionFields):
    """A version of an artifact."""

    typename = "Artifact"

    def __init__(self, context: RequestContext, row: Version) -> None:
        self.context = context
        self.row = row

    @field
    def artifact_sequence(self) -> SequenceNode:
        return SequenceNode(self.context, self.row)

    @field
    async def aliases(self) -> list[dict[str, Any]]:
        return [
            {**alias_info(each), "artifactCollection": await self._collection(each.collection)}
            for each in self.row.aliases
        ]

    @field
    def current_manifest(self) -> dict[str, Any] | None:
        if self.row.manifest is None:
            return None
        url = ManifestAddress(self.context, self.row.manifest)
        return {"__typename": "ArtifactManifest", "file": url}

    @field
    async def created_by(self) -> dict[str, Any] | None:
        found = await self._runs([self.row.run] if self.row.run is not None else [])
        return found[0] if found else None

    @field
    async def used_by(self) -> dict[str, Any]:
        numbers = await self.context.deps.artifacts.versions.used_by(self.row.number)
        return connection("Run", await self._runs(numbers))

    @field
    async def artifact_memberships(self) -> dict[str, Any]:
        found = await self.context.deps.artifacts.members.of_version(self.row.number)
        return connection(
            "ArtifactCollectionMembership", [MemberNode(self.context, each) for each in found]
        )

    @field
    async def files(
        self, names: list[str] | None = None, after: str = "", first: int = 1_000
    ) -> dict[str, Any]:
        return await file_connection(self.context, self.row, names, after, page_size(first))

    @field
    async def files_by_manifest_entries(
        self, entries: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        return await files_of_entries(self.context, self.row, entries or [])

    async def _collection(self, number: int) -> Node | None:
        if number == self.row.collection:
            return SequenceNode(self.context, self.row)
        found = await self.context.deps.artifacts.collections.get(number)
        return None if found is None else CollectionNode(self.context, found)

    async def _runs(self, numbers: list[int]) -> list[dict[str, Any]]:
        rows = await self.context.deps.catalog.run_rows(numbers)
        found = [rows[number] for number in numbers if number in rows]
        return [run_info(row) for row in found if self.context.principal.may_read(row.entity)]


class ManifestAddress(Node):
    """A version's manifest as a file: its size is looked up when its URL is requested."""

    typename = "File"

    def __init__(self, context: RequestContext, sha256: str) -> None:
        self._context = context
        self._sha256 = sha256

    @field
    def id(self) -> str:
        return encode_id("ArtifactManifestFile", self._sha256)

    @field
    async def direct_url(self) -> str | None:
        blob = await self._context.deps.blobs.get(self._sha256)
        if blob is None:
            return None
        addresses = Addresses(self._context)
        return addresses.of_blob(self._sha256, blob.size_bytes, "wandb_manifest.json")


class SequenceNode(Node):
    """A version's sequence, from the version's row."""

    typename = "ArtifactSequence"

    def __init__(self, context: RequestContext, row: Version) -> None:
        self.context = context
        self.row = row

    @field
    def id(self) -> str:
        return encode_id("ArtifactCollection", self.row.collection)

    @field
    def name(self) -> str:
        return self.row.collection_name

    @field
    def project(self) -> dict[str, Any]:
        return project_info(self.row.entity, self.row.project, self.row.project_number)

    @field
    async def latest_artifact(self) -> ArtifactNode | None:
        members = await self.context.deps.artifacts.members.page(self.row.collection, limit=1)
        return ArtifactNode(self.context, members[0].version) if members else None


class CollectionNode(Node):
    """A collection: a sequence, or a portfolio."""

    def __init__(self, context: RequestContext, row: Collection) -> None:
        self.context = context
        self.row = row

    async def get(self, name: str, arguments: Any) -> Any:
        if name == "__typename":
            return collection_typename(self.row.kind)
        return await super().get(name, arguments)

    @field
    def id(self) -> str:
        return encode_id("ArtifactCollection", self.row.number)

    @field
    def name(self) -> str:
        return self.row.name

    @field
    def description(self) -> str:
        return self.row.description

    @field
    def state(self) -> str:
        return "READY"

    @field
    def created_at(self) -> str:
        return timestamp(self.row.created_at)

    @field
    def updated_at(self) -> str:
        return timestamp(self.row.updated_at)

    @field
    def project(self) -> dict[str, Any]:
        return project_info(self.row.entity, self.row.project, self.row.project_number)

    @field
    def default_artifact_type(self) -> dict[str, Any]:
        id = encode_id("ArtifactType", self.row.type_number)
        return {"__typename": "ArtifactType", "id": id, "name": self.row.type}

    @field
    def digest_algorithm(self) -> str | None:
        return "MANIFEST_MD5" if self.row.kind == SEQUENCE else None

    @field
    def tags(self) -> dict[str, Any]:
        return connection("Tag", tag_infos(self.row.tags))

    @field
    async def aliases(self, after: str = "", first: int = 1_000) -> dict[str, Any]:
        names = await self.context.deps.artifacts.collections.aliases(self.row.number)
        rest = [name for name in names if name > after] if after else names
        page = rest[: page_size(first)]
        nodes = [alias_info(Alias(self.row.number, name, 0)) for name in page]
        return connection("ArtifactAlias", nodes, page, has_next=len(rest) > len(page))

    @field
    async def artifact_membership(self, alias_name: str = LATEST) -> MemberNode | None:
        found = await self.context.deps.artifacts.members.find(
            self.row.project_number, self.row.name, alias_name
        )
        return None if found is None else MemberNode(self.context, found)

    @field
    async def latest_artifact(self) -> ArtifactNode | None:
        members = await self.context.deps.artifacts.members.page(self.row.number, limit=1)
        return ArtifactNode(self.context, members[0].version) if members else None

    @field
    async def artifacts(
        self, after: str = "", first: int = 50, order: str = "", filters: str = ""
    ) -> dict[str, Any]:
        """The members, newest first unless `order` says otherwise."""
        members = self.context.deps.artifacts.members
        total, found = 0, []
        if _lists_committed(filters):
            limit = page_size(first)
            found = await members.page(
                self.row.number,
                ascending=_is_ascending(order),
                after=int(after) if after.isdecimal() else None,
                limit=limit + 1,
            )
            total, page = await members.count(self.row.number), found[:limit]
        else:
            page = []
        nodes = [ArtifactNode(self.context, each.version) for each in page]
        answer = connection(
            "VersionedArtifact",
            nodes,
            [str(each.index) for each in page],
            has_next=len(found) > len(page),
            totalCount=total,
        )
        for edge, member in zip(answer["edges"], page, strict=True):
            edge["version"] = f"v{member.index}"
        return answer


class MemberNode(Node):
    """A version as a member of a collection."""

    typename = "ArtifactCollectionMembership"

    def __init__(self, context: RequestContext, row: Member) -> None:
        self.context = context
        self.row = row

    @field
    def id(self) -> str:
        return encode_id("ArtifactMembership", f"{self.row.collection}/{self.row.version.number}")

    @field
    def version_index(self) -> int:
        return self.row.index

    @field
    def created_at(self) -> str:
        return timestamp(self.row.created_at)

    @field
    def aliases(self) -> list[dict[str, Any]]:
        return [
            alias_info(each)
            for each in self.row.version.aliases
            if each.collection == self.row.collection
        ]

    @field
    async def artifact_collection(self) -> CollectionNode | None:
        found = await self.context.deps.artifacts.collections.get(self.row.collection)
        return None if found is None else CollectionNode(self.context, found)

    @field
    def artifact(self) -> ArtifactNode:
        return ArtifactNode(self.context, self.row.version)

    @field
    async def files(
        self, names: list[str] | None = None, after: str = "", first: int = 1_000
    ) -> dict[str, Any]:
        return await file_connection(self.context, self.row.version, names, after, page_size(first))


def alias_info(alias: Alias) -> dict[str, Any]:
    """An alias."""
    id = encode_id("ArtifactAlias", f"{alias.collection}/{alias.alias}")
    return {"__typename": "ArtifactAlias", "id": id, "alias": alias.alias}


def _is_ascending(order: str) -> bool:
    name = order.lstrip("+-").replace("_", "").lower()
    if name not in ("", "createdat", "versionindex", "updatedat"):
        raise Rejected(f"artifacts cannot be sorted by {name!r}", code=ErrorCode.BAD_ORDER)
    return bool(name) and not order.startswith("-")


def _lists_committed(filters: str) -> bool:
    """Whether the filter selects committed versions; only these are members of a collection."""
    wanted = loads_map("filters", filters) if filters else {}
    state = wanted.pop("state", COMMITTED)
    if wanted:
        raise Rejected(
            f"artifacts cannot be filtered by {', '.join(sorted(wanted))}",
            code=ErrorCode.BAD_FILTER,
            hint="Filter the versions in your script.",
        )
    return bool(state == COMMITTED)
