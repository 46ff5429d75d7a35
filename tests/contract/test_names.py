"""A catalog that was lost or is older than the point store learns its numbers again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.catalogs import NewUrl, opened
from support.store import shared_store

from penstock.errors import Broken
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.contracts.interface import RunRef
from penstock_storage.names import lane_name, reconcile, record


@pytest.fixture
async def points() -> AsyncIterator[ClickHouse]:
    async with shared_store() as store:
        client = store.client()
        await client.setup()
        yield client
        await client.close()


async def test_a_lost_catalog_gets_its_numbers_back(points: ClickHouse, new_url: NewUrl) -> None:
    refs = [RunRef("ana", "mnist", f"r{n}") for n in range(3)]
    async with opened(await new_url()) as catalog:
        assert await reconcile(catalog, points) == 0
        runs = await catalog.ensure_runs(refs)
        keys = await catalog.ensure_keys(1, ["loss", "é/\t'\"\\"])
        lanes = await catalog.ensure_lanes([(runs[refs[0]].number, "w:é", 3, 7)])
        names = await catalog.all_names()
        await record(points, names)
        await record(points, names)
        assert await reconcile(catalog, points) == 0
    async with opened(await new_url()) as catalog:
        assert await reconcile(catalog, points) == len(names)
        assert await reconcile(catalog, points) == 0
        assert set(await catalog.all_names()) == set(names)
        numbers = {ref: row.number for ref, row in (await catalog.ensure_runs(refs)).items()}
        assert numbers == {ref: row.number for ref, row in runs.items()}
        assert await catalog.ensure_keys(1, [*keys]) == keys
        assert await catalog.ensure_lanes([(runs[refs[0]].number, "w:é", 3, 7)]) == lanes


async def test_a_catalog_that_reissued_a_number_is_refused(
    points: ClickHouse, new_url: NewUrl
) -> None:
    await record(points, [("project", 1, 0, "ana/mnist"), ("key", 1, 1, "loss")])
    async with opened(await new_url()) as catalog:
        await catalog.ensure_runs([RunRef("ana", "mnist", "r1")])
        await catalog.ensure_keys(1, ["accuracy"])
        with pytest.raises(Broken, match="disagree"):
            await reconcile(catalog, points)


async def test_two_names_under_one_number_in_the_store_are_refused(
    points: ClickHouse, new_url: NewUrl
) -> None:
    await record(points, [("project", 1, 0, "ana/mnist"), ("project", 1, 0, "bob/mnist")])
    async with opened(await new_url()) as catalog:
        with pytest.raises(Broken, match="disagree"):
            await reconcile(catalog, points)


async def test_recording_nothing_or_very_much(points: ClickHouse) -> None:
    await record(points, [])
    await record(points, [("lane", n, 1, lane_name(0, 0, f"w{n}")) for n in range(150_000)])
    answer = await points.query("SELECT count() AS n FROM penstock.names")
    assert [*answer["n"]] == [150_000]
