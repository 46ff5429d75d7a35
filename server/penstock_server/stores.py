"""Opens the three stores of an installation for copying: those of a data folder, whether or not
Penstock is running on it, or those in the settings."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from penstock.command_codes import CommandCode
from penstock.errors import Rejected, Transient
from penstock_common.process.settings import ServerSettings
from penstock_server.child import Child, ProcessCommand
from penstock_server.datafolder import DataFolder
from penstock_storage.blobs.blob_store import BlobStore, open_blobs
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.connect import open_points

__all__ = ["Stores", "stores_of_folder", "stores_of_settings"]

_READY_TIMEOUT_S = 60.0
_MEMORY_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Stores:
    """An installation's persistent stores."""

    points: ClickHouse
    catalog_url: str
    blobs: BlobStore


@asynccontextmanager
async def stores_of_settings(settings: ServerSettings) -> AsyncIterator[Stores]:
    """The stores at the settings' URLs."""
    points = open_points(settings.store_url, settings.store_token)
    try:
        yield Stores(points, settings.catalog_url, open_blobs(settings.blobs_url))
    finally:
        await points.close()


@asynccontextmanager
async def stores_of_folder(folder: DataFolder) -> AsyncIterator[Stores]:
    """The stores in a data folder: through the store process of a running `penstock up`, or else
    through our own, with the folder locked meanwhile."""
    try:
        folder.open()
    except Rejected as error:
        if error.code != CommandCode.ALREADY_RUNNING:
            raise
        async with _connected(folder) as stores:
            yield stores
        return
    try:
        async with _own_store(folder), _connected(folder) as stores:
            yield stores
    finally:
        folder.close()


@asynccontextmanager
async def _connected(folder: DataFolder) -> AsyncIterator[Stores]:
    points = open_points(f"unix://{folder.socket('store.sock')}", folder.secret("store_token"))
    try:
        await _until_ready(points, folder)
        yield Stores(points, f"sqlite+aiosqlite:///{folder.catalog}", open_blobs(str(folder.blobs)))
    finally:
        await points.close()


@asynccontextmanager
async def _own_store(folder: DataFolder) -> AsyncIterator[None]:
    arguments = [
        sys.executable, "-m", "penstock_storage.embedded.store_process",
        "--path", str(folder.points),
        "--socket", str(folder.socket("store.sock")),
        "--memory-bytes", str(_MEMORY_BYTES),
    ]  # fmt: skip
    environ = {**os.environ, "PENSTOCK_STORE_TOKEN": folder.secret("store_token")}
    child = Child(
        "store", ProcessCommand(arguments, environ, folder.logs / "store.log"), lambda: None
    )
    running = asyncio.create_task(child.keep_running())
    try:
        yield
    finally:
        child.stop()
        await running


async def _until_ready(points: ClickHouse, folder: DataFolder) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while True:
        with suppress(Transient):
            return await points.ping()
        if time.monotonic() > deadline:
            raise Rejected(
                f"the point store of {folder.root} does not respond",
                code=CommandCode.NOT_READY,
                hint=f"See the logs in {folder.logs}.",
            )
        await asyncio.sleep(0.05)
