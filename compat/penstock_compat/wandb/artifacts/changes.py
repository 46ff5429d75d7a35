"""Changes of existing artifacts: aliases, tags, links, descriptions, use, deletion."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire import check_name
from penstock_compat.wandb.artifacts.facts import (
    collection_to_write,
    collection_typename,
    deleted_version,
    version_to_read,
    version_to_write,
)
from penstock_compat.wandb.artifacts.nodes import ArtifactNode, CollectionNode, MemberNode
from penstock_compat.wandb.artifacts.uploads import run_number, ttl_of
from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.request_context import RequestContext
from penstock_storage.catalog.artifacts.artifact_rows import Collection, Version
from penstock_storage.catalog.artifacts.artifact_tables import PORTFOLIO, SEQUENCE

__all__ = ["ArtifactChanges"]

_DONE = {"success": True}


class ArtifactChanges(Node):
    """Root fields that change artifacts."""

    context: RequestContext

    # -- versions

    @field
    async def use_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Record that a run uses a version of any project that the caller may read."""
        context = self.context
        version = await version_to_read(context, input.get("artifactID") or "")
        if version is None:
            raise Rejected("could not find this artifact", code=ErrorCode.NOT_FOUND)
        entity = context.entity(input.get("entityName"))
        project = check_name("project", input.get("projectName"))
        run = await run_number(context, entity, project, input.get("runName"))
        if run is None:
            raise Rejected("could not find the run that uses it", code=ErrorCode.NOT_FOUND)
        await context.deps.artifacts.versions.use(run, version.number, _now())
        return {"artifact": ArtifactNode(context, version)}

    @field
    async def update_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Change the given fields of a version; null ones stay."""
        version = await self._version(input)
        values: dict[str, Any] = {}
        for name in ("description", "metadata"):
            if input.get(name) is not None:
                values[name] = input[name].replace("\0", "")
        if input.get("ttlDurationSeconds") is not None:
            values["ttl_s"] = ttl_of(input["ttlDurationSeconds"])
        await self.context.deps.artifacts.versions.change(
            version.number,
            _now(),
            values,
            add_tags=_tags(input.get("tagsToAdd")),
            remove_tags=_tags(input.get("tagsToDelete")),
        )
        if input.get("aliases") is not None:
            await self._replace_aliases(version, [each["alias"] for each in input["aliases"]])
        return {"artifact": ArtifactNode(self.context, await self._version(input))}

    @field
    async def delete_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Delete a version; idempotent."""
        gone = await deleted_version(self.context, input.get("artifactID") or "")
        if gone is not None:
            return {"artifact": ArtifactNode(self.context, gone)}
        version = await self._version(input)
        with_aliases = bool(input.get("deleteAliases"))
        await self.context.deps.artifacts.versions.delete(
            version.number, _now(), with_aliases=with_aliases
        )
        return {"artifact": ArtifactNode(self.context, version)}

    # -- aliases and links

    @field
    async def add_aliases(self, input: dict[str, Any]) -> dict[str, Any]:
        version = await self._version(input)
        for collection, names in await self._by_collection(input.get("aliases") or ()):
            await self.context.deps.artifacts.members.add_aliases(
                version.number, collection.number, names, _now()
            )
        return _DONE

    @field
    async def delete_aliases(self, input: dict[str, Any]) -> dict[str, Any]:
        version = await self._version(input)
        for collection, names in await self._by_collection(input.get("aliases") or ()):
            await self.context.deps.artifacts.members.remove_aliases(
                version.number, collection.number, names, _now()
            )
        return _DONE

    @field
    async def link_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Link a version to a portfolio of its own entity, created if necessary."""
        context = self.context
        version = await self._meant(input)
        entity = context.entity(input.get("entityName") or version.entity)
        if entity != version.entity:
            raise Rejected(
                f"artifacts of {version.entity} can only be linked within {version.entity}",
                code=ErrorCode.OTHER_ENTITY,
            )
        project = check_name("project", input.get("projectName") or version.project)
        number = await context.deps.catalog.ensure_project(entity, project)
        members = context.deps.artifacts.members
        name = input.get("artifactPortfolioName")
        if not name:
            portfolio = await collection_to_write(context, input.get("artifactPortfolioID") or "")
            name, number = portfolio.name, portfolio.project_number
        aliases = [each["alias"] for each in input.get("aliases") or ()]
        index = await members.link(version, number, name, aliases, _now())
        member = await members.find(number, name, f"v{index}")
        return {
            "versionIndex": index,
            "artifactMembership": None if member is None else MemberNode(context, member),
        }

    @field
    async def unlink_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        version = await self._version(input)
        portfolio = await collection_to_write(self.context, input.get("artifactPortfolioID") or "")
        await self.context.deps.artifacts.members.unlink(version.number, portfolio.number, _now())
        return _DONE

    # -- collections

    @field
    async def update_artifact_sequence(self, input: dict[str, Any]) -> dict[str, Any]:
        return await self._change(input, "artifactSequenceID")

    @field
    async def update_artifact_portfolio(self, input: dict[str, Any]) -> dict[str, Any]:
        return await self._change(input, "artifactPortfolioID")

    @field
    async def move_artifact_sequence(self, input: dict[str, Any]) -> dict[str, Any]:
        row = await collection_to_write(self.context, input.get("artifactSequenceID") or "")
        await self.context.deps.artifacts.collections.set_type(
            row.number, input.get("destinationArtifactTypeName") or "", _now()
        )
        return await self._changed_collection(row)

    @field
    async def delete_artifact_sequence(self, input: dict[str, Any]) -> dict[str, Any]:
        return await self._delete(input.get("artifactSequenceID") or "", SEQUENCE)

    @field
    async def delete_artifact_portfolio(self, input: dict[str, Any]) -> dict[str, Any]:
        return await self._delete(input.get("artifactPortfolioID") or "", PORTFOLIO)

    @field
    async def create_artifact_collection_tag_assignments(
        self, input: dict[str, Any]
    ) -> dict[str, Any]:
        row = await self._named(input)
        tags = _tags(input.get("tags"))
        await self.context.deps.artifacts.collections.tag(row.number, tags, [], _now())
        changed = await self._named(input)
        return {"tags": [{"__typename": "Tag", "id": name, "name": name} for name in changed.tags]}

    @field
    async def delete_artifact_collection_tag_assignments(
        self, input: dict[str, Any]
    ) -> dict[str, Any]:
        row = await self._named(input)
        tags = _tags(input.get("tags"))
        await self.context.deps.artifacts.collections.tag(row.number, [], tags, _now())
        return _DONE

    # -- look-ups

    async def _version(self, input: dict[str, Any]) -> Version:
        return await version_to_write(self.context, input.get("artifactID") or "")

    async def _meant(self, input: dict[str, Any]) -> Version:
        """The version by its id or by the client's own id."""
        if input.get("artifactID"):
            return await self._version(input)
        versions = self.context.deps.artifacts.versions
        _, number = await versions.of_client(input.get("clientID") or "")
        version = None if number is None else await versions.get(number)
        if version is None or not self.context.principal.may_write(version.entity):
            raise Rejected("could not find this artifact", code=ErrorCode.NOT_FOUND)
        return version

    async def _by_collection(
        self, aliases: Iterable[dict[str, Any]]
    ) -> list[tuple[Collection, list[str]]]:
        named: dict[tuple[str, str, str], list[str]] = {}
        for each in aliases:
            keys = ("entityName", "projectName", "artifactCollectionName")
            entity, project, name = (each.get(key) or "" for key in keys)
            named.setdefault((entity, project, name), []).append(each["alias"])
        return [
            (await self._find(entity, project, name), names)
            for (entity, project, name), names in named.items()
        ]

    async def _named(self, input: dict[str, Any]) -> Collection:
        return await self._find(
            input.get("entityName") or "",
            input.get("projectName") or "",
            input.get("artifactCollectionName") or "",
        )

    async def _find(self, entity: str, project: str, name: str) -> Collection:
        deps = self.context.deps
        number = await deps.catalog.project_number(self.context.entity(entity), project)
        row = None if number is None else await deps.artifacts.collections.find(number, name)
        if row is None:
            raise Rejected(
                f"could not find the artifact collection {name!r}", code=ErrorCode.NOT_FOUND
            )
        return row

    async def _replace_aliases(self, version: Version, names: list[str]) -> None:
        members = self.context.deps.artifacts.members
        had = [each.alias for each in version.aliases if each.collection == version.collection]
        gone = [name for name in had if name not in names]
        await members.remove_aliases(version.number, version.collection, gone, _now())
        await members.add_aliases(version.number, version.collection, names, _now())

    async def _change(self, input: dict[str, Any], key: str) -> dict[str, Any]:
        row = await collection_to_write(self.context, input.get(key) or "")
        await self.context.deps.artifacts.collections.change(
            row.number, _now(), name=input.get("name"), description=input.get("description")
        )
        return await self._changed_collection(row)

    async def _changed_collection(self, row: Collection) -> dict[str, Any]:
        found = await self.context.deps.artifacts.collections.get(row.number)
        return {"artifactCollection": CollectionNode(self.context, found or row)}

    async def _delete(self, id: str, kind: str) -> dict[str, Any]:
        row = await collection_to_write(self.context, id)
        if row.kind != kind:
            raise Rejected(f"{row.name!r} is not a {kind}", code=ErrorCode.KIND_CONFLICT)
        await self.context.deps.artifacts.collections.delete(row.number)
        typename = collection_typename(kind)
        return {"artifactCollection": {"__typename": typename, "state": "DELETED"}}


def _tags(tags: Iterable[dict[str, Any]] | None) -> list[str]:
    return [each["tagName"].replace("\0", "") for each in tags or ()]


def _now() -> int:
    return time.time_ns() // 1000
