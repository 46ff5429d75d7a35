"""A catalog that was lost or is older than the point store learns its numbers again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.store import running_store

from penstock.errors import Broken
from penstock_storage.catalog import SqlCatalog
from penstock_storage.clickhouse import ClickHouse
from penstock_storage.interface import RunRef
from penstock_storage.names import lane_name, reconcile, record


@asynccontextmanager
async def catalog_in(folder: Path) -> AsyncIterator[SqlCatalog]:
    catalog = SqlCatalog(f"sqlite+aiosqlite:///{folder}/catalog.db")
    await catalog.setup()
    try:
        yield catalog
    finally:
        await catalog.close()


@pytest.fixture
async def points(tmp_path: Path) -> AsyncIterator[ClickHouse]:
    async with running_store(tmp_path) as store:
        client = store.client()
        await client.setup()
        yield client
        await client.close()


async def test_a_lost_catalog_gets_its_numbers_back(points: ClickHouse, tmp_path: Path) -> None:
    refs = [RunRef("ana", "mnist", f"r{n}") for n in range(3)]
    async with catalog_in(tmp_path) as catalog:
        assert await reconcile(catalog, points) == 0
        runs = await catalog.ensure_runs(refs)
        keys = await catalog.ensure_keys(1, ["loss", "é/\t'\"\\"])
        lanes = await catalog.ensure_lanes([(runs[refs[0]].number, "w:é", 3, 7)])
        names = await catalog.all_names()
        await record(points, names)
        await record(points, names)
        assert await reconcile(catalog, points) == 0
    (tmp_path / "catalog.db").unlink()
    async with catalog_in(tmp_path) as catalog:
        assert await reconcile(catalog, points) == len(names)
        assert await reconcile(catalog, points) == 0
        assert set(await catalog.all_names()) == set(names)
        numbers = {ref: row.number for ref, row in (await catalog.ensure_runs(refs)).items()}
        assert numbers == {ref: row.number for ref, row in runs.items()}
        assert await catalog.ensure_keys(1, [*keys]) == keys
        assert await catalog.ensure_lanes([(runs[refs[0]].number, "w:é", 3, 7)]) == lanes


async def test_a_catalog_that_reissued_a_number_is_refused(
    points: ClickHouse, tmp_path: Path
) -> None:
    await record(points, [("project", 1, 0, "ana/mnist"), ("key", 1, 1, "loss")])
    async with catalog_in(tmp_path) as catalog:
        await catalog.ensure_runs([RunRef("ana", "mnist", "r1")])
        await catalog.ensure_keys(1, ["accuracy"])
        with pytest.raises(Broken, match="disagree"):
            await reconcile(catalog, points)


async def test_two_names_under_one_number_in_the_store_are_refused(
    points: ClickHouse, tmp_path: Path
) -> None:
    await record(points, [("project", 1, 0, "ana/mnist"), ("project", 1, 0, "bob/mnist")])
    async with catalog_in(tmp_path) as catalog:
        with pytest.raises(Broken, match="disagree"):
            await reconcile(catalog, points)


async def test_recording_nothing_or_very_much(points: ClickHouse) -> None:
    await record(points, [])
    await record(points, [("lane", n, 1, lane_name(0, 0, f"w{n}")) for n in range(150_000)])
    answer = await points.query("SELECT count() AS n FROM penstock.names")
    assert [*answer["n"]] == [150_000]
