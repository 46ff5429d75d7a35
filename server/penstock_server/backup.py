"""Backups: generations of points, catalog and secrets in one folder, and their shared blobs.

TO/2026-11-23T11-44-11Z/   one generation: it gets this name once it is complete
TO/blobs/                  by content hash, each copied once

A generation is consistent although Penstock keeps running; `penstock_storage.backup.points_backup` explains how.
The catalog is copied after the points, and blobs after the catalog, so that references resolve.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from penstock.command_codes import CommandCode
from penstock.errors import Rejected
from penstock_server.stores import Stores
from penstock_storage.backup.archive import Archive, ArchiveWriter, generations, open_archive
from penstock_storage.backup.points_backup import dump_points
from penstock_storage.blobs.blob_store import BlobStore, open_blobs
from penstock_storage.catalog.copying import dump_catalog
from penstock_storage.catalog.database import Database
from penstock_storage.clickhouse.schema import SCHEMA_VERSION

__all__ = ["Report", "back_up", "blob_list", "copy_blobs"]

Report = Callable[[str, int], None]
"""Receives the name of what is being copied and the number of rows or blobs done."""


async def back_up(
    stores: Stores, to: Path, secrets: dict[str, str], *, keep: int, report: Report
) -> Path:
    """Add a generation to the folder `to`, then remove all but the newest `keep` (0: none).

    Returns the generation's path. Raises `Rejected` if another backup to this folder is running.
    """
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    to.chmod(0o700)
    with _locked(to):
        now = datetime.datetime.now(datetime.UTC)
        archive = ArchiveWriter(to / now.strftime("%Y-%m-%dT%H-%M-%S.%fZ"))
        store_id = await stores.points.store_id()
        await dump_points(stores.points, archive, report)
        await _copy_catalog(stores.catalog_url, archive, report)
        await _copy_blobs(stores.blobs, to, archive, report)
        with archive.file("secrets") as file:
            file.write(json.dumps(secrets).encode())
        archive.finish(
            {
                "penstock": version("penstock"),
                "created_at": now.isoformat(),
                "points_schema": SCHEMA_VERSION,
                "store": store_id,
            }
        )
        if keep:
            await _prune(to, keep)
    return archive.path


async def copy_blobs(
    source: BlobStore, target: BlobStore, digests: Iterable[tuple[str, int]], report: Report
) -> list[tuple[str, int]]:
    """Copy the blobs (digest, size) that the target lacks, checking each by its hash.

    Returns those that the target has now: a blob may be deleted from the source meanwhile.
    """
    have = {digest: size async for digest, size in target.sizes()}
    copied = []
    for digest, size_bytes in digests:
        if have.get(digest) != size_bytes:
            blob = await source.get(digest)
            if blob is None:
                continue
            await target.put(digest, blob.chunks, limit_bytes=size_bytes)
        copied.append((digest, size_bytes))
        report("blobs", len(copied))
    return copied


def blob_list(archive: Archive) -> Iterator[tuple[str, int]]:
    """(digest, size in bytes) of the blobs that belong to an archive."""
    for line in b"".join(archive.read("blobs")).decode().splitlines():
        digest, size_bytes = line.split()
        yield digest, int(size_bytes)


async def _copy_catalog(url: str, archive: ArchiveWriter, report: Report) -> None:
    database = Database(url)
    try:
        with archive.file("catalog") as file:
            async for line in dump_catalog(database):
                file.write(line)
                file.rows += 1
                report("catalog", file.rows)
    finally:
        await database.close()


async def _copy_blobs(source: BlobStore, to: Path, archive: ArchiveWriter, report: Report) -> None:
    found = sorted([each async for each in source.sizes()])
    copied = await copy_blobs(source, open_blobs(str(to / "blobs")), found, report)
    with archive.file("blobs") as file:
        for digest, size_bytes in copied:
            file.write(f"{digest} {size_bytes}\n".encode())
        file.rows = len(copied)


async def _prune(to: Path, keep: int) -> None:
    """Remove old generations and the blobs that only they contain."""
    found = generations(to)
    if len(found) <= keep:
        return
    for path in found[:-keep]:
        shutil.rmtree(path)
    kept = {digest for path in found[-keep:] for digest, _ in blob_list(open_archive(path))}
    blobs = open_blobs(str(to / "blobs"))
    async for digest, _ in blobs.sizes():
        if digest not in kept:
            await blobs.delete(digest)


@contextmanager
def _locked(to: Path) -> Iterator[None]:
    with (to / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Rejected(
                f"a backup to {to} is already running", code=CommandCode.ALREADY_RUNNING
            ) from None
        yield
