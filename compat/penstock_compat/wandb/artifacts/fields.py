"""A version's row as fields of a node."""

from __future__ import annotations

from typing import Any

from penstock_compat.wandb.artifacts.facts import tag_infos
from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.ids import encode_id
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.values import timestamp
from penstock_storage.catalog.artifacts.artifact_rows import Version

__all__ = ["NO_TTL", "VersionFields"]

NO_TTL = -2
"""The protocol's value instead of seconds for artifacts without expiry."""


class VersionFields(Node):
    """Fields that need only the row."""

    context: RequestContext
    row: Version

    @field
    def id(self) -> str:
        return encode_id("Artifact", self.row.number)

    @field
    def version_index(self) -> int | None:
        return self.row.index

    @field
    def artifact_type(self) -> dict[str, Any]:
        return {"__typename": "ArtifactType", "name": self.row.type}

    @field
    def description(self) -> str | None:
        return self.row.description or None

    @field
    def metadata(self) -> str | None:
        return self.row.metadata

    @field
    def ttl_duration_seconds(self) -> int:
        return NO_TTL if self.row.ttl_s is None else self.row.ttl_s

    @field
    def ttl_is_inherited(self) -> bool:
        return self.row.ttl_s is None

    @field
    def tags(self) -> list[dict[str, Any]]:
        return tag_infos(self.row.tags)

    @field
    def history_step(self) -> int | None:
        return self.row.history_step

    @field
    def state(self) -> str:
        return self.row.state

    @field
    def size(self) -> int:
        return self.row.size_bytes

    @field
    def digest(self) -> str:
        return self.row.digest

    @field
    def digest_algorithm(self) -> str:
        return self.row.digest_algorithm

    @field
    def commit_hash(self) -> str | None:
        return self.row.manifest

    @field
    def file_count(self) -> int:
        return self.row.file_count

    @field
    def created_at(self) -> str:
        return timestamp(self.row.created_at)

    @field
    def updated_at(self) -> str:
        return timestamp(self.row.updated_at)
