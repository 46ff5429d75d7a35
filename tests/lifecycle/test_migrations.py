"""Migrations of real stores of an earlier version: killed half-way and continued, and begun by two at once."""

from __future__ import annotations

import asyncio
import os
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from support.postgres import running_postgres, why_no_postgres
from support.store import StoreHandle, running_store

from penstock_storage.catalog.database import Database
from penstock_storage.catalog.migrations import HEAD
from penstock_storage.catalog.schema import downgrade
from penstock_storage.clickhouse.schema import SCHEMA_VERSION, TABLES
from penstock_storage.connect import open_catalog, open_points

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(480)]

OLD = Path(__file__).parents[1] / "upgrade" / "0.1.0.tar.xz"
FIRST = "0001"
_SET_UP = """
import asyncio, sys
from penstock_storage.connect import open_catalog, open_points, set_up

async def main(catalog_url, store_url, token):
    catalog, points = open_catalog(catalog_url), open_points(store_url, token)
    print("begins", flush=True)
    await set_up(catalog, points)
    await catalog.close()
    await points.close()

asyncio.run(main(*sys.argv[1:]))
"""
"""What a worker does first."""


@dataclass
class Stores:
    """An old catalog and an old point store."""

    catalog_url: str
    store: StoreHandle

    async def begin(self) -> asyncio.subprocess.Process:
        """A process that has begun to set them up."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _SET_UP, self.catalog_url, self.store.url, self.store.token),
            env=os.environ,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"begins\n"
        return process

    async def revision(self) -> str:
        database = Database(self.catalog_url)
        try:
            async with database.reading() as connection:
                return str(await connection.scalar(text("SELECT version_num FROM alembic_version")))
        finally:
            await database.close()

    async def points_of(self) -> tuple[int, int]:
        """(number of points, xor of all of them): what no migration may change."""
        points = open_points(self.store.url, self.store.token)
        try:
            found = await points.query(
                "SELECT count() AS n, groupBitXor(cityHash64(run, key, lane, step, v)) AS all"
                " FROM penstock.points FINAL"
            )
        finally:
            await points.close()
        return int(found["n"][0]), int(found["all"][0])

    async def check(self) -> None:
        """Both are whole and current."""
        assert await self.revision() == HEAD
        points = open_points(self.store.url, self.store.token)
        try:
            version = await points.query(
                "SELECT value FROM penstock.meta FINAL WHERE name = 'schema_version'"
            )
            assert list(version["value"]) == [str(SCHEMA_VERSION)]
            columns = await points.query(
                "SELECT table, name FROM system.columns WHERE database = 'penstock'"
            )
        finally:
            await points.close()
        there = set(zip(columns["table"], columns["name"], strict=True))
        assert there >= {(name, each) for name, table in TABLES.items() for each in table.columns}
        catalog = open_catalog(self.catalog_url)
        try:
            await catalog.all_names()
        finally:
            await catalog.close()


@asynccontextmanager
async def old_stores(kind: str, folder: Path) -> AsyncIterator[Stores]:
    """The folder of version 0.1.0; on PostgreSQL, a catalog at the first revision beside its point store."""
    with tarfile.open(OLD) as archive:
        archive.extractall(folder, filter="data")
    # Where `running_store` looks for it.
    (folder / "data" / "points").rename(folder / "points")
    (folder / "store").mkdir()
    (folder / "points").rename(folder / "store" / "data")
    async with running_store(folder / "store") as store:
        if kind == "sqlite":
            yield Stores(f"sqlite+aiosqlite:///{folder / 'data' / 'catalog.db'}", store)
            return
        if reason := why_no_postgres():
            pytest.skip(reason)
        async with running_postgres() as server:
            stores = Stores(await server.new_database(), store)
            await take_back(stores.catalog_url)
            yield stores


async def take_back(url: str) -> None:
    """Make this a catalog of the first revision, with a few runs."""
    catalog = open_catalog(url)
    await catalog.setup()
    await catalog.ensure_project("e", "p")
    async with catalog.database.writing() as connection:
        await connection.run_sync(lambda each: downgrade(each, FIRST))
    await catalog.close()


KINDS = ["sqlite", "postgres"]


@pytest.mark.parametrize("kind", KINDS)
async def test_killed_half_way_and_continued(tmp_path: Path, kind: str) -> None:
    """Every time a little later, until it gets through."""
    async with old_stores(kind, tmp_path) as stores:
        before, held = await stores.revision(), await stores.points_of()
        assert before < HEAD
        kills = 0
        for after_s in (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 60.0):
            process = await stores.begin()
            with suppress(TimeoutError):
                assert await asyncio.wait_for(process.wait(), after_s) == 0
                break
            process.kill()
            await process.wait()
            kills += 1
            assert await stores.revision() in (before, HEAD)
        assert kills > 1
        await stores.check()
        assert await stores.points_of() == held


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.smoke)])
async def test_begun_by_several_at_once(tmp_path: Path, kind: str) -> None:
    """One does it, and is killed at it; the others wait, and go on with it."""
    async with old_stores(kind, tmp_path) as stores:
        held = await stores.points_of()
        processes = await asyncio.gather(*(stores.begin() for _ in range(4)))
        await asyncio.sleep(0.1)
        processes[0].kill()
        codes = await asyncio.gather(*(process.wait() for process in processes))
        assert codes[0] in (-9, 0)
        assert codes[1:] == [0, 0, 0]
        await stores.check()
        assert await stores.points_of() == held
