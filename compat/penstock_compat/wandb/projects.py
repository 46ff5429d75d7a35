"""Projects: reading, listing, creating."""

from __future__ import annotations

from typing import Any

from penstock.wire import check_name
from penstock_compat.wandb.artifacts.queries import ArtifactsOfProject
from penstock_compat.wandb.graphql.nodes import Node, connection, field
from penstock_compat.wandb.ids import encode_id
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.runs.listing import RunsOfProject
from penstock_compat.wandb.sweeps import SweepsOfProject
from penstock_compat.wandb.values import timestamp
from penstock_compat.wandb.viewer import Entity, User
from penstock_storage.contracts.interface import ProjectRow

__all__ = ["ProjectMutations", "ProjectNode", "ProjectQueries", "find_project"]


class ProjectNode(RunsOfProject, SweepsOfProject, ArtifactsOfProject, Node):
    """A project of an entity."""

    typename = "Project"

    def __init__(self, context: RequestContext, row: ProjectRow) -> None:
        self.context = context
        self.row = row

    @field
    def id(self) -> str:
        return encode_id("Project", self.row.number)

    @field
    def internal_id(self) -> str:
        return encode_id("ProjectInternalId", self.row.number)

    @field
    def name(self) -> str:
        return self.row.project

    @field
    def entity_name(self) -> str:
        return self.row.entity

    @field
    def entity(self) -> Entity:
        return Entity(self.row.entity)

    @field
    def user(self) -> User:
        return User(self.row.entity)

    @field
    def created_at(self) -> str:
        return timestamp(self.row.created_at)

    @field
    def description(self) -> str:
        return ""

    @field
    def access(self) -> str:
        return "PRIVATE"

    @field
    def views(self) -> None:
        return None

    @field
    def is_benchmark(self) -> bool:
        return False

    @field
    def read_only(self) -> bool:
        return not self.context.principal.may_write(self.row.entity)


async def find_project(
    context: RequestContext, entity: str | None, name: str
) -> ProjectNode | None:
    """The project, if it exists and the caller may read it."""
    readable = context.readable(entity)
    if readable is None:
        return None
    row = await context.deps.catalog.project(readable, name)
    return None if row is None else ProjectNode(context, row)


class ProjectQueries(Node):
    """Root fields about projects; `model` is the protocol's older word for a project."""

    context: RequestContext

    @field
    async def project(self, name: str = "", entity_name: str = "") -> ProjectNode | None:
        return await find_project(self.context, entity_name, name)

    @field
    async def model(self, name: str = "", entity_name: str = "") -> ProjectNode | None:
        return await find_project(self.context, entity_name, name)

    @field
    async def models(
        self, entity_name: str = "", after: str = "", first: int = 1_000
    ) -> dict[str, Any]:
        entity = self.context.readable(entity_name)
        rows = [] if entity is None else await self.context.deps.catalog.projects(entity)
        start = int(after) + 1 if after.isdecimal() else 0
        page = rows[start : start + first]
        return connection(
            "Project",
            [ProjectNode(self.context, row) for row in page],
            [str(start + at) for at in range(len(page))],
            has_next=start + first < len(rows),
        )


class ProjectMutations(Node):
    """Root fields for creating projects."""

    context: RequestContext

    @field
    async def upsert_model(self, input: dict[str, Any]) -> dict[str, Any]:
        entity = self.context.entity(input.get("entityName"))
        name = check_name("project", input.get("name") or input.get("id"))
        project = await find_project(self.context, entity, name)
        inserted = project is None
        if project is None:
            await self.context.deps.catalog.ensure_project(entity, name)
            project = await find_project(self.context, entity, name)
        return {"project": project, "model": project, "inserted": inserted}
