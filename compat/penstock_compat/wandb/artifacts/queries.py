"""Queries of artifacts: by id, by name in a project, by the run that logged or used them."""

from __future__ import annotations

from typing import Any

from penstock_compat.wandb.artifacts.facts import version_to_read
from penstock_compat.wandb.artifacts.nodes import (
    ArtifactNode,
    CollectionNode,
    MemberNode,
    page_size,
)
from penstock_compat.wandb.artifacts.types import TypeNode, collection_connection
from penstock_compat.wandb.graphql.nodes import Node, connection, field
from penstock_compat.wandb.ids import decode_id, encode_id
from penstock_compat.wandb.request_context import RequestContext
from penstock_storage.catalog.artifacts.artifact_members import LATEST
from penstock_storage.catalog.artifacts.artifact_versions import INPUT, OUTPUT
from penstock_storage.contracts.interface import ProjectRow, RunRow

__all__ = ["ArtifactQueries", "ArtifactsOfProject", "ArtifactsOfRunNode"]


class ArtifactQueries(Node):
    """Root fields about artifacts."""

    context: RequestContext

    @field
    async def artifact(self, id: str = "") -> ArtifactNode | None:
        version = await version_to_read(self.context, id)
        return None if version is None else ArtifactNode(self.context, version)

    @field
    async def artifact_collection(self, id: str = "") -> CollectionNode | None:
        number = decode_id("ArtifactCollection", id)
        if not number.isdecimal() or len(number) > 18:
            return None
        row = await self.context.deps.artifacts.collections.get(int(number))
        if row is None or not self.context.principal.may_read(row.entity):
            return None
        return CollectionNode(self.context, row)

    @field
    async def client_id_mapping(self, client_id: str = "") -> dict[str, Any] | None:
        """The id of an artifact that a client names with its own id."""
        artifacts = self.context.deps.artifacts
        collection, version = await artifacts.versions.of_client(client_id)
        row = None if collection is None else await artifacts.collections.get(collection)
        if row is None or not self.context.principal.may_read(row.entity):
            return None
        if version is not None:
            id = encode_id("Artifact", version)
        else:
            id = encode_id("ArtifactCollection", row.number)
        return {"__typename": "ClientIDMapping", "serverID": id}


class ArtifactsOfProject(Node):
    """The artifacts of a project. Names are `name`, `name:alias` or `name:v3`."""

    context: RequestContext
    row: ProjectRow

    @field
    async def artifact(self, name: str) -> ArtifactNode | None:
        member = await self.artifact_collection_membership(name)
        return None if member is None else member.artifact()

    @field
    async def artifact_collection_membership(self, name: str) -> MemberNode | None:
        collection, _, alias = name.partition(":")
        found = await self.context.deps.artifacts.members.find(
            self.row.number, collection, alias or LATEST
        )
        return None if found is None else MemberNode(self.context, found)

    @field
    async def artifact_collection(self, name: str) -> CollectionNode | None:
        found = await self.context.deps.artifacts.collections.find(self.row.number, name)
        return None if found is None else CollectionNode(self.context, found)

    @field
    async def artifact_collections(self, after: str = "", first: int = 1_000) -> dict[str, Any]:
        return await collection_connection(
            self.context, self.row.number, None, after, page_size(first)
        )

    @field
    async def artifact_type(self, name: str) -> TypeNode | None:
        found = [each for each in await self._types() if each.row.name == name]
        return found[0] if found else None

    @field
    async def artifact_types(self, after: str = "", first: int = 1_000) -> dict[str, Any]:
        found = [each for each in await self._types() if each.row.name > after]
        page = found[: page_size(first)]
        return connection(
            "ArtifactType",
            page,
            [each.row.name for each in page],
            has_next=len(found) > len(page),
        )

    async def _types(self) -> list[TypeNode]:
        found = await self.context.deps.artifacts.collections.types(self.row.number)
        return [TypeNode(self.context, self.row.number, each) for each in found]


class ArtifactsOfRunNode(Node):
    """The artifacts that a run logged and used."""

    context: RequestContext
    row: RunRow

    @field
    async def output_artifacts(self, after: str = "", first: int = 1_000) -> dict[str, Any]:
        return await self._artifacts(OUTPUT, after, page_size(first))

    @field
    async def input_artifacts(self, after: str = "", first: int = 1_000) -> dict[str, Any]:
        return await self._artifacts(INPUT, after, page_size(first))

    async def _artifacts(self, kind: str, after: str, first: int) -> dict[str, Any]:
        versions = self.context.deps.artifacts.versions
        start = int(after) if after.isdecimal() else None
        found = await versions.of_run(self.row.number, kind, after=start, limit=first + 1)
        page = found[:first]
        readable = [each for each in page if self.context.principal.may_read(each.entity)]
        return connection(
            "Artifact",
            [ArtifactNode(self.context, each) for each in readable],
            [str(each.number) for each in readable],
            has_next=len(found) > len(page),
            totalCount=await versions.count_of_run(self.row.number, kind),
        )
