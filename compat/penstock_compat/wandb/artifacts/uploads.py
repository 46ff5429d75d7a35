"""Artifact uploads: create a version, upload its files and its manifest, commit it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any, BinaryIO

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire import check_name
from penstock_compat.wandb.artifacts.addresses import Addresses, hex_of
from penstock_compat.wandb.artifacts.facts import version_to_read, version_to_write
from penstock_compat.wandb.artifacts.fields import NO_TTL
from penstock_compat.wandb.artifacts.manifests import (
    MAX_MANIFEST_BYTES,
    check_region,
    digest_of,
    located,
    merged_manifest,
    read_manifest,
)
from penstock_compat.wandb.artifacts.nodes import ArtifactNode
from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.ids import decode_id, encode_id
from penstock_compat.wandb.request_context import RequestContext
from penstock_storage.blobs.uploads import receive
from penstock_storage.catalog.artifacts.artifact_files import FULL, INCREMENTAL, PATCH, KnownContent
from penstock_storage.catalog.artifacts.artifact_rows import COMMITTED, PENDING, File, Version
from penstock_storage.catalog.artifacts.artifact_versions import NewVersion
from penstock_storage.contracts.interface import RunRef

__all__ = ["ArtifactUploads", "run_number", "ttl_of"]

_PLAIN_DIGEST = "MANIFEST_MD5"
_INHERITED = -1
_MD5S = 2_000


class ArtifactUploads(Node):
    """Root fields for uploading artifacts."""

    context: RequestContext

    @field
    async def create_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Create a version; COMMITTED means that one with this content already exists (deduplication)."""
        context = self.context
        entity = context.entity(input.get("entityName"))
        project = check_name("project", input.get("projectName"))
        names = [input.get("artifactCollectionName"), *(input.get("artifactCollectionNames") or [])]
        name = next((each for each in names if each), "")
        check_region(input.get("storageRegion"))
        algorithm = input.get("digestAlgorithm") or _PLAIN_DIGEST
        if algorithm != _PLAIN_DIGEST:
            raise Rejected(f"{algorithm} digests are not supported", code=ErrorCode.BAD_DIGEST)
        new = NewVersion(
            project=await context.deps.catalog.ensure_project(entity, project),
            type=input.get("artifactTypeName") or "",
            name=name,
            digest=input.get("digest") or "",
            digest_algorithm=algorithm,
            description=_clean(input.get("description")),
            metadata=_clean(input["metadata"]) if input.get("metadata") else None,
            aliases=tuple(each["alias"] for each in input.get("aliases") or ()),
            tags=tuple(each["tagName"] for each in input.get("tags") or ()),
            client=input.get("clientID") or None,
            sequence_client=input.get("sequenceClientID") or None,
            distributed=input.get("distributedID") or None,
            deduplicates=bool(input.get("enableDigestDeduplication")),
            ttl_s=ttl_of(input.get("ttlDurationSeconds")),
            history_step=input.get("historyStep"),
            run=await run_number(context, entity, project, input.get("runName")),
        )
        version = await context.deps.artifacts.versions.begin(new, _now())
        return {"artifact": ArtifactNode(context, version)}

    @field
    async def create_artifact_manifest(self, input: dict[str, Any]) -> dict[str, Any]:
        """Create a manifest; a version's last one counts."""
        version = await self._pending(input.get("artifactID") or "")
        digest = input.get("digest") or ""
        number = await self.context.deps.artifacts.files.add_manifest(
            version.number, digest, _now(), **await self._manner(version, input)
        )
        return {"artifactManifest": self._manifest(number)}

    @field
    async def update_artifact_manifest(self, input: dict[str, Any]) -> dict[str, Any]:
        """Change the content of a created manifest."""
        files = self.context.deps.artifacts.files
        text = decode_id("ArtifactManifest", input.get("artifactManifestID") or "")
        number = int(text) if text.isdecimal() and len(text) < 19 else -1
        found = await files.manifest(number)
        if found is None:
            raise Rejected("could not find this manifest", code=ErrorCode.NOT_FOUND)
        await self._pending(encode_id("Artifact", found[0]))
        if input.get("digest"):
            await files.redeclare_manifest(number, input["digest"])
        return {"artifactManifest": self._manifest(number)}

    @field
    async def create_artifact_files(self, input: dict[str, Any]) -> dict[str, Any]:
        """URLs to upload files, in the given order; none for content already in the store."""
        check_region(input.get("storageRegion"))
        wanted: list[dict[str, Any]] = input.get("artifactFiles") or []
        versions = {
            id: await self._pending(id) for id in {each.get("artifactID") or "" for each in wanted}
        }
        by_entity: dict[str, set[str]] = {}
        for each in wanted:
            version = versions[each.get("artifactID") or ""]
            by_entity.setdefault(version.entity, set()).add(each.get("md5") or "")
        files = self.context.deps.artifacts.files
        known = {
            entity: await files.known(entity, sorted(md5s), used_at=_now())
            for entity, md5s in by_entity.items()
        }
        addresses = Addresses(self.context)
        edges = []
        for each in wanted:
            id, md5 = each.get("artifactID") or "", each.get("md5") or ""
            entity, digits = versions[id].entity, hex_of(md5)
            if digits is None:
                raise Rejected(
                    f"the MD5 of {str(each.get('name'))[:200]!r} is not valid",
                    code=ErrorCode.BAD_DIGEST,
                )
            is_here = md5 in known[entity]
            node: dict[str, Any] = {
                "__typename": "File",
                "id": encode_id("ArtifactUpload", digits),
                "name": each.get("name"),
                "displayName": each.get("name"),
                "storagePath": f"wandb_artifacts/{digits}",
                "uploadUrl": None if is_here else addresses.of_content(entity, digits),
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"__typename": "Artifact", "id": id},
            }
            edges.append({"__typename": "FileEdge", "node": node})
        return {"files": {"__typename": "FileConnection", "edges": edges}}

    @field
    async def commit_artifact(self, input: dict[str, Any]) -> dict[str, Any]:
        """Make a version visible; all files in its manifest must be uploaded. Idempotent."""
        deps = self.context.deps
        version = await version_to_write(self.context, input.get("artifactID") or "")
        if version.state == PENDING:
            manifest, is_merged = await self._manifest_of(version)
            async with self._on_disk([manifest]) as (content,):
                listed = await asyncio.to_thread(read_manifest, content)
            now = _now()
            files = await self._located(version.entity, listed, now)
            digest = await asyncio.to_thread(digest_of, listed) if is_merged else None
            await deps.artifacts.versions.commit(
                version.number, manifest, files, now, digest=digest
            )
            version = await version_to_write(self.context, input.get("artifactID") or "")
        return {"artifact": ArtifactNode(self.context, version)}

    async def _pending(self, id: str) -> Version:
        """The version with this id, which must still accept files. Raises `Rejected`."""
        version = await version_to_write(self.context, id)
        if version.state == COMMITTED:
            raise Rejected("a committed artifact cannot be changed", code=ErrorCode.COMMITTED)
        return version

    async def _manner(self, version: Version, input: dict[str, Any]) -> dict[str, Any]:
        """The base to merge a manifest with. Raises `Rejected`."""
        kind = input.get("type") or FULL
        if kind not in (FULL, INCREMENTAL, PATCH):
            raise Rejected(f"{kind} manifests are not supported", code=ErrorCode.BAD_MANIFEST)
        base = None
        if kind == INCREMENTAL and input.get("baseArtifactID"):
            before = await version_to_read(self.context, input["baseArtifactID"])
            if before is None or before.entity != version.entity:
                raise Rejected("could not find the base artifact", code=ErrorCode.NOT_FOUND)
            base = before.number
        return {"kind": kind, "base": base}

    async def _manifest_of(self, version: Version) -> tuple[str, bool]:
        """The complete manifest of a version about to be committed, and whether it was merged here.
        Raises `Rejected`."""
        deps = self.context.deps
        found = await deps.artifacts.files.manifests(version.number)
        digests = [each.sha256 for each in found if each.sha256 is not None]
        if not digests:
            raise Rejected("the artifact's manifest was not uploaded", code=ErrorCode.NO_MANIFEST)
        base = found[-1].base
        before = None if base is None else await deps.artifacts.versions.get(base)
        if before is not None and before.manifest is not None:
            digests.insert(0, before.manifest)
        if len(digests) == 1:
            return digests[0], found[-1].kind != FULL
        async with self._on_disk(digests) as contents:
            pieces = _pieces(merged_manifest(contents))
            stored = await receive(pieces, deps.blobs, limit_bytes=MAX_MANIFEST_BYTES)
        return stored.sha256, True

    async def _located(self, entity: str, listed: Sequence[File], now: int) -> list[File]:
        """The files with their blobs, which are marked as used. Raises `Rejected`."""
        md5s = sorted({each.digest for each in listed if each.reference is None})
        known: dict[str, KnownContent] = {}
        for start in range(0, len(md5s), _MD5S):
            some = md5s[start : start + _MD5S]
            known |= await self.context.deps.artifacts.files.known(entity, some, used_at=now)
        return await asyncio.to_thread(located, listed, known)

    @asynccontextmanager
    async def _on_disk(self, digests: Sequence[str]) -> AsyncIterator[list[BinaryIO]]:
        """These blobs as open temporary files. Raises `Rejected`."""
        with ExitStack() as files:
            opened: list[BinaryIO] = []
            for digest in digests:
                blob = await self.context.deps.blobs.get(digest)
                if blob is None:
                    raise Rejected("the artifact's manifest is lost", code=ErrorCode.NO_MANIFEST)
                file = files.enter_context(tempfile.TemporaryFile())
                async for chunk in blob.chunks:
                    await asyncio.to_thread(file.write, chunk)
                file.seek(0)
                opened.append(file)
            yield opened

    def _manifest(self, number: int) -> dict[str, Any]:
        id = encode_id("ArtifactManifest", number)
        file = {
            "__typename": "File",
            "id": id,
            "uploadUrl": Addresses(self.context).of_manifest(number),
            "uploadHeaders": [],
        }
        return {"__typename": "ArtifactManifest", "id": id, "file": file}


async def run_number(
    context: RequestContext, entity: str, project: str, run: str | None
) -> int | None:
    """The run's number; None if no run is given."""
    if not run:
        return None
    row = await context.deps.catalog.run(RunRef(entity, project, run))
    return None if row is None else row.number


def ttl_of(seconds: int | None) -> int | None:
    """A version's retention in the catalog's form; None if it has none of its own."""
    if seconds is None or seconds in (_INHERITED, 0):
        return None
    return seconds if seconds > 0 else NO_TTL


async def _pieces(made: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Iterate with each step in a thread."""
    while piece := await asyncio.to_thread(next, made, b""):
        yield piece


def _clean(text: str | None) -> str:
    """Text that every database accepts."""
    return (text or "").replace("\0", "")


def _now() -> int:
    return time.time_ns() // 1000
