"""`GET …/artifacts`: collections, versions, runs' artifacts, files and their content."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, Rejected
from penstock_common.http.contents import Content, content_type_of, send_content
from penstock_common.http.errors import json_response
from penstock_storage.catalog.artifacts.artifact_rows import Collection, File, Member, Version
from penstock_storage.catalog.artifacts.artifact_versions import INPUT, OUTPUT
from penstock_web.access import not_found
from penstock_web.dependencies import WebDependencies
from penstock_web.models.artifacts import (
    DOWNLOAD_ARTIFACT_FILE,
    LIST_ARTIFACT_FILES,
    LIST_COLLECTIONS,
    LIST_RUN_ARTIFACTS,
    LIST_VERSIONS,
)
from penstock_web.requests import query_of
from penstock_web.runs import RunsHandler

__all__ = ["ArtifactsHandler"]


class ArtifactsHandler:
    """Lists artifacts and serves their files."""

    def __init__(self, deps: WebDependencies, runs: RunsHandler) -> None:
        self._artifacts = deps.artifacts
        self._blobs = deps.blobs
        self._catalog = deps.catalog
        self._runs = runs

    async def collections(self, request: web.Request) -> web.Response:
        """`GET /v1/projects/{entity}/{project}/artifacts`"""
        project = await self._runs.project(request)
        query = query_of(request, LIST_COLLECTIONS)
        collections = self._artifacts.collections
        found = await collections.page(
            project, type=query.type, after=query.after, limit=query.limit + 1
        )
        page = found[: query.limit]
        return json_response(
            {
                "types": [each.name for each in await collections.types(project)],
                "collections": [await self._collection(each) for each in page],
                "total": await collections.count(project, type=query.type),
                "next": page[-1].number if len(found) > len(page) else None,
            }
        )

    async def versions(self, request: web.Request) -> web.Response:
        """`GET /v1/projects/{entity}/{project}/artifacts/{name}`"""
        project = await self._runs.project(request)
        query = query_of(request, LIST_VERSIONS)
        name = request.match_info["name"]
        collection = await self._artifacts.collections.find(project, name)
        if collection is None:
            raise not_found(f"artifact {name}")
        members = self._artifacts.members
        found = await members.page(collection.number, after=query.after, limit=query.limit + 1)
        page = found[: query.limit]
        return json_response(
            {
                "versions": await self._members(collection, page),
                "total": await members.count(collection.number),
                "next": page[-1].index if len(found) > len(page) else None,
            }
        )

    async def of_run(self, request: web.Request) -> web.Response:
        """`GET /v1/runs/{entity}/{project}/{run}/artifacts`"""
        row = await self._runs.found(request)
        limit = query_of(request, LIST_RUN_ARTIFACTS).limit
        versions = self._artifacts.versions
        lists = {
            "logged": await versions.of_run(row.number, OUTPUT, limit=limit),
            "used": await versions.of_run(row.number, INPUT, limit=limit),
        }
        # Hide another entity's artifact that an administrator's run used.
        own = {
            name: [each for each in found if each.entity == row.entity]
            for name, found in lists.items()
        }
        return json_response(
            {name: await self._versions_to_json(found) for name, found in own.items()}
        )

    async def files(self, request: web.Request) -> web.Response:
        """`GET /v1/projects/{entity}/{project}/artifacts/{name}/{version}/files`"""
        version = (await self._member(request)).version
        query = query_of(request, LIST_ARTIFACT_FILES)
        found = await self._artifacts.files.page(
            version.number, after=query.after, limit=query.limit + 1
        )
        page = found[: query.limit]
        return json_response(
            {
                "files": [_file_to_json(each) for each in page],
                "total": version.file_count,
                "next": page[-1].path if len(found) > len(page) else None,
            }
        )

    async def file(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/projects/{entity}/{project}/artifacts/{name}/{version}/files/{path}`"""
        version = (await self._member(request)).version
        query_of(request, DOWNLOAD_ARTIFACT_FILE)
        path = request.match_info["path"]
        found = await self._artifacts.files.page(version.number, names=[path])
        if not found:
            raise not_found(f"file {path} of this artifact")
        (file,) = found
        sha256 = file.sha256
        if sha256 is None:
            raise Rejected(
                f"the content of {path} is stored elsewhere: {file.reference}",
                code=ErrorCode.IS_REFERENCE,
            )

        async def read(start: int, end: int) -> AsyncIterator[bytes]:
            blob = await self._blobs.get(sha256, (start, end))
            if blob is None:
                raise Broken(f"the content of file {path} is not in the blob store")
            return blob.chunks

        content = Content(path, file.size_bytes, sha256, content_type_of(path), read)
        return await send_content(request, content, is_download=True)

    async def _member(self, request: web.Request) -> Member:
        project = await self._runs.project(request)
        name, version = request.match_info["name"], request.match_info["version"]
        member = await self._artifacts.members.find(project, name, version)
        if member is None:
            raise not_found(f"artifact {name}:{version}")
        return member

    async def _collection(self, row: Collection) -> dict[str, Any]:
        members = self._artifacts.members
        latest = await self._members(row, await members.page(row.number, limit=1))
        return {
            "name": row.name,
            "type": row.type,
            "kind": row.kind,
            "description": row.description,
            "tags": list(row.tags),
            "versions": await members.count(row.number),
            "latest": latest[0] if latest else None,
            "created_at": row.created_at / 1e6,
            "updated_at": row.updated_at / 1e6,
        }

    async def _members(
        self, collection: Collection, members: Sequence[Member]
    ) -> list[dict[str, Any]]:
        """Versions under their names in this collection."""
        listed = await self._versions_to_json([each.version for each in members])
        for fields, member in zip(listed, members, strict=True):
            fields |= {
                "entity": collection.entity,
                "project": collection.project,
                "name": collection.name,
                "version": f"v{member.index}",
                "aliases": list(member.aliases),
            }
        return listed

    async def _versions_to_json(self, versions: Sequence[Version]) -> list[dict[str, Any]]:
        """Versions under the names with which they were logged."""
        numbers = {each.run for each in versions if each.run is not None}
        runs = await self._catalog.run_rows(sorted(numbers))
        names = {number: row.run for number, row in runs.items()}
        return [_version_to_json(each, names) for each in versions]


def _version_to_json(row: Version, runs: dict[int, str]) -> dict[str, Any]:
    return {
        "entity": row.entity,
        "project": row.project,
        "name": row.collection_name,
        "type": row.type,
        "version": f"v{row.index}",
        "aliases": [each.alias for each in row.aliases if each.collection == row.collection],
        "tags": list(row.tags),
        "description": row.description,
        "metadata": _metadata(row.metadata),
        "digest": row.digest,
        "size_bytes": row.size_bytes,
        "files": row.file_count,
        "run": None if row.run is None else runs.get(row.run),
        "created_at": row.created_at / 1e6,
        "updated_at": row.updated_at / 1e6,
    }


def _metadata(text: str | None) -> dict[str, Any]:
    """Metadata sent as a JSON object; empty for anything else."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _file_to_json(file: File) -> dict[str, Any]:
    return {
        "path": file.path,
        "size_bytes": file.size_bytes,
        "digest": file.digest,
        "content_type": content_type_of(file.path),
        "reference": file.reference,
    }
