"""Small objects that artifacts refer to, and look-ups of artifacts by their opaque ids."""

from __future__ import annotations

from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_compat.wandb.ids import decode_id, encode_id
from penstock_compat.wandb.request_context import RequestContext
from penstock_storage.catalog.artifacts.artifact_rows import DELETED, Collection, Version
from penstock_storage.catalog.artifacts.artifact_tables import SEQUENCE
from penstock_storage.contracts.interface import RunRow

__all__ = [
    "collection_to_write", "collection_typename", "deleted_version", "project_info", "run_info",
    "tag_infos", "version_to_read", "version_to_write",
]  # fmt: skip


def project_info(entity: str, project: str, number: int) -> dict[str, Any]:
    """A project as part of an artifact."""
    return {
        "__typename": "Project",
        "id": encode_id("Project", number),
        "internalId": encode_id("ProjectInternalId", number),
        "name": project,
        "entityName": entity,
        "entity": {"__typename": "Entity", "id": encode_id("Entity", entity), "name": entity},
    }


def run_info(row: RunRow) -> dict[str, Any]:
    """A run as part of an artifact."""
    return {
        "__typename": "Run",
        "id": encode_id("Run", row.number),
        "name": row.run,
        "displayName": row.name,
        "project": project_info(row.entity, row.project, row.project_number),
    }


def tag_infos(tags: tuple[str, ...]) -> list[dict[str, Any]]:
    """Tags, which consist only of their names."""
    return [{"__typename": "Tag", "id": encode_id("Tag", name), "name": name} for name in tags]


def collection_typename(kind: str) -> str:
    """The protocol's name for a kind of collection."""
    return "ArtifactSequence" if kind == SEQUENCE else "ArtifactPortfolio"


async def version_to_read(context: RequestContext, id: str) -> Version | None:
    """The version with this opaque id, if the caller may read it and it was not deleted."""
    version = await context.deps.artifacts.versions.get(_number("Artifact", id))
    if version is None or version.state == DELETED:
        return None
    return version if context.principal.may_read(version.entity) else None


async def deleted_version(context: RequestContext, id: str) -> Version | None:
    """The version with this opaque id, if it was deleted and the caller may write to it."""
    version = await context.deps.artifacts.versions.get(_number("Artifact", id))
    if version is None or version.state != DELETED:
        return None
    return version if context.principal.may_write(version.entity) else None


async def version_to_write(context: RequestContext, id: str) -> Version:
    """The version with this opaque id. Raises `Rejected` (404)."""
    version = await version_to_read(context, id)
    if version is None or not context.principal.may_write(version.entity):
        raise Rejected("could not find this artifact", code=ErrorCode.NOT_FOUND)
    return version


async def collection_to_write(context: RequestContext, id: str) -> Collection:
    """The collection with this opaque id. Raises `Rejected` (404)."""
    row = await context.deps.artifacts.collections.get(_number("ArtifactCollection", id))
    if row is None or not context.principal.may_write(row.entity):
        raise Rejected("could not find this artifact collection", code=ErrorCode.NOT_FOUND)
    return row


def _number(kind: str, id: str) -> int:
    text = decode_id(kind, id)
    return int(text) if text.isdecimal() and len(text) < 19 else -1
