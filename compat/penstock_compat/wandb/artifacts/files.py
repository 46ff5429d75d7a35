"""The files of a version as nodes."""

from __future__ import annotations

from typing import Any

from penstock_common.http.contents import content_type_of
from penstock_compat.wandb.artifacts.addresses import Addresses
from penstock_compat.wandb.graphql.nodes import connection
from penstock_compat.wandb.ids import encode_id
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.values import timestamp
from penstock_storage.catalog.artifacts.artifact_rows import File, Version

__all__ = ["file_connection", "files_of_entries"]


async def file_connection(
    context: RequestContext, version: Version, names: list[str] | None, after: str, first: int
) -> dict[str, Any]:
    """A page of files. `names` selects; `after` is the path before the page."""
    files = context.deps.artifacts.files
    found = await files.page(version.number, names=names, after=after or None, limit=first + 1)
    page = found[:first]
    total = version.file_count if names is None else await files.count(version.number, names=names)
    return connection(
        "File",
        _nodes(context, version, page),
        [each.path for each in page],
        has_next=len(found) > len(page),
        totalCount=total,
    )


async def files_of_entries(
    context: RequestContext, version: Version, entries: list[dict[str, Any]]
) -> dict[str, Any]:
    """The files of these manifest entries, in order."""
    names = [str(each.get("name") or each.get("path")) for each in entries]
    found = await context.deps.artifacts.files.page(
        version.number, names=names, limit=len(names) + 1
    )
    by_path = {each.path: each for each in found}
    listed = [by_path[name] for name in names if name in by_path]
    return connection("File", _nodes(context, version, listed))


def _nodes(context: RequestContext, version: Version, files: list[File]) -> list[dict[str, Any]]:
    addresses = Addresses(context)
    return [_node(addresses, version, each) for each in files]


def _node(addresses: Addresses, version: Version, file: File) -> dict[str, Any]:
    url = addresses.of_file(file)
    is_here = file.sha256 is not None
    return {
        "__typename": "File",
        "id": encode_id("ArtifactFile", f"{version.number}/{file.path}"),
        "name": file.path,
        "displayName": file.path,
        "url": url,
        "directUrl": url,
        "sizeBytes": file.size_bytes,
        "storagePath": f"wandb_artifacts/{file.sha256}" if is_here else None,
        "mimetype": content_type_of(file.path),
        "updatedAt": timestamp(version.updated_at),
        "digest": file.digest,
        "md5": file.digest if is_here else None,
    }
