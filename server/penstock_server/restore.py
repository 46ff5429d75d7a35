"""Restores a backup into a new data folder or into the empty stores in the settings.

Everything is checked before anything is written. A data folder is built under a temporary name and
renamed when it is complete, so that a partial one is never started. The queue starts empty and the
point store gets a new id, so that clients notice and send again what they still hold.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from redis.exceptions import RedisError

from penstock.command_codes import CommandCode
from penstock.error_codes import ErrorCode
from penstock.errors import Broken, Rejected, Transient
from penstock_common.process.settings import ServerSettings
from penstock_common.queue.connection import connect
from penstock_common.queue.redis_keys import SHARDS, RedisKeys
from penstock_server.backup import Report, blob_list, copy_blobs
from penstock_server.datafolder import DataFolder, write_private
from penstock_server.stores import Stores, stores_of_folder, stores_of_settings
from penstock_storage.backup import points_backup as backup
from penstock_storage.backup.archive import Archive, generations, open_archive
from penstock_storage.blobs.blob_store import BlobStore, open_blobs
from penstock_storage.catalog import copying
from penstock_storage.catalog.database import Database
from penstock_storage.connect import open_catalog
from penstock_storage.names import reconcile

__all__ = ["find_archive", "restore_into_folder", "restore_into_settings"]


async def find_archive(path: Path) -> Archive:
    """The generation at `path`, or the newest one in it, with all its blobs.

    Raises `Rejected` if there is none or it is incomplete.
    """
    found = generations(path)
    if found:
        path = found[-1]
    elif not path.is_dir():
        raise Rejected(f"there is no backup at {path}", code=CommandCode.NO_BACKUP)
    archive = open_archive(path)
    have = {digest: size async for digest, size in _blobs_of(archive).sizes()}
    for digest, size_bytes in blob_list(archive):
        if have.get(digest) != size_bytes:
            raise Rejected(
                f"{path} is not a complete backup: blob {digest} is missing or truncated",
                code=CommandCode.BROKEN_BACKUP,
                hint="Nothing was restored.",
            )
    return archive


async def restore_into_folder(archive: Archive, target: Path, report: Report) -> None:
    """Create a data folder from a backup. Raises `Rejected` if the folder exists and is not empty."""
    target = target.expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Rejected(
            f"{target} is not empty", code=CommandCode.NOT_EMPTY, hint="Restore into a new folder."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.with_name(f".{target.name}.restoring")
    shutil.rmtree(building, ignore_errors=True)
    folder = DataFolder(building)
    try:
        async with stores_of_folder(folder) as stores:
            await _fill(archive, stores, report)
            _put_secrets(archive, folder)
        building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


async def restore_into_settings(archive: Archive, settings: ServerSettings, report: Report) -> None:
    """Fill the stores in the settings. Raises `Rejected` if they or the queue are in use."""
    await _require_new_queue(settings)
    async with stores_of_settings(settings) as stores:
        await _fill(archive, stores, report)


async def _fill(archive: Archive, stores: Stores, report: Report) -> None:
    catalog, database = open_catalog(stores.catalog_url), Database(stores.catalog_url)
    try:
        await stores.points.setup()
        await catalog.setup()
        try:
            await backup.require_empty(stores.points)
            await copying.require_empty(database)
        except Broken as error:
            raise Rejected(
                str(error), code=CommandCode.NOT_EMPTY, hint="Restore into new stores."
            ) from None
        await copy_blobs(_blobs_of(archive), stores.blobs, blob_list(archive), report)
        rows = await copying.load_catalog(database, _lines(archive))
        report("catalog", rows)
        if rows != archive.rows["catalog"]:
            raise Broken(f"the catalog has {rows} rows, not {archive.rows['catalog']}")
        await backup.load_points(stores.points, archive, report)
        # Refuses a backup whose two halves do not match.
        await reconcile(catalog, stores.points)
    finally:
        await database.close()
        await catalog.close()


def _put_secrets(archive: Archive, folder: DataFolder) -> None:
    """Restore the secrets without which the backup's API keys would not work. Others are regenerated."""
    secrets = json.loads(b"".join(archive.read("secrets")))
    if "pepper" in secrets:
        (folder.root / "secrets").mkdir(mode=0o700, exist_ok=True)
        write_private(folder.root / "secrets" / "pepper", secrets["pepper"])
    if "api_key" in secrets:
        write_private(folder.api_key, secrets["api_key"])


async def _require_new_queue(settings: ServerSettings) -> None:
    """A queue's positions belong to the store that it served: another store lacks what they call
    committed."""
    redis, keys = connect(settings.redis_url, timeout_s=10), RedisKeys(settings.prefix)
    try:
        for shard in range(SHARDS):
            if await redis.exists(keys.stream(shard), keys.committed(shard)):
                raise Rejected(
                    f"the queue contains data of another store under {settings.prefix!r}",
                    code=CommandCode.NOT_EMPTY,
                    hint="Empty that Redis, or choose another PENSTOCK_PREFIX.",
                )
    except (RedisError, OSError) as error:
        raise Transient(
            f"the queue cannot be reached: {error}", code=ErrorCode.UNAVAILABLE
        ) from error
    finally:
        await redis.aclose()


def _blobs_of(archive: Archive) -> BlobStore:
    return open_blobs(str(archive.path.parent / "blobs"))


def _lines(archive: Archive) -> Iterator[bytes]:
    rest = b""
    for chunk in archive.read("catalog"):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
