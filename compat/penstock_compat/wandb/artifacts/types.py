"""Types of artifacts, and pages of collections."""

from __future__ import annotations

from typing import Any

from penstock_compat.wandb.artifacts.nodes import CollectionNode, page_size
from penstock_compat.wandb.graphql.nodes import Node, connection, field
from penstock_compat.wandb.ids import encode_id
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.values import timestamp
from penstock_storage.catalog.artifacts.artifact_rows import ArtifactType

__all__ = ["TypeNode", "collection_connection"]


class TypeNode(Node):
    """A type of artifacts in a project."""

    typename = "ArtifactType"

    def __init__(self, context: RequestContext, project: int, row: ArtifactType) -> None:
        self.context = context
        self.project = project
        self.row = row

    @field
    def id(self) -> str:
        return encode_id("ArtifactType", self.row.number)

    @field
    def name(self) -> str:
        return self.row.name

    @field
    def description(self) -> str:
        return self.row.description

    @field
    def created_at(self) -> str:
        return timestamp(self.row.created_at)

    @field
    async def artifact_collection(self, name: str) -> CollectionNode | None:
        found = await self.context.deps.artifacts.collections.find(self.project, name)
        if found is None or found.type != self.row.name:
            return None
        return CollectionNode(self.context, found)

    @field
    async def artifact_collections(self, after: str = "", first: int = 1_000) -> dict[str, Any]:
        return await collection_connection(
            self.context, self.project, self.row.name, after, page_size(first)
        )


async def collection_connection(
    context: RequestContext, project: int, type: str | None, after: str, first: int
) -> dict[str, Any]:
    """A page of collections."""
    collections = context.deps.artifacts.collections
    start = int(after) if after.isdecimal() else None
    found = await collections.page(project, type=type, after=start, limit=first + 1)
    page = found[:first]
    return connection(
        "ArtifactCollection",
        [CollectionNode(context, each) for each in page],
        [str(each.number) for each in page],
        has_next=len(found) > len(page),
        totalCount=await collections.count(project, type=type),
    )
