"""Runs made in groups: few transactions for many requests, and nobody is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from penstock.error_codes import ErrorCode
from penstock.errors import Transient
from penstock_ingest.creations import Creations
from penstock_storage.catalog import SqlCatalog
from penstock_storage.connect import open_catalog
from penstock_storage.contracts.interface import RunChange, RunRef, RunRow


@pytest.fixture
async def catalog(catalog_url: str) -> AsyncIterator[SqlCatalog]:
    catalog = open_catalog(catalog_url)
    yield catalog
    await catalog.close()


def named(name: str) -> RunRef:
    return RunRef("e", "p", name)


class Counting:
    """Counts what goes through to a catalog; fails while `error` is set."""

    def __init__(self, catalog: SqlCatalog) -> None:
        self._catalog = catalog
        self.calls = 0
        self.error: Exception | None = None

    async def ensure_runs(self, refs: Sequence[RunRef]) -> dict[RunRef, RunRow]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return await self._catalog.ensure_runs(refs)

    async def apply_changes(self, changes: Sequence[RunChange], now: int) -> None:
        self.calls += 1
        await self._catalog.apply_changes(changes, now)


async def test_many_at_once_take_few_transactions(catalog: SqlCatalog) -> None:
    counting = Counting(catalog)
    creations = Creations(counting)  # type: ignore[arg-type]

    def changes(value: int, number: int) -> list[RunChange]:
        return [RunChange(number, "w1", 0, 0, "config", {"x": value})]

    made = await asyncio.gather(
        *(creations.make(named(f"r{i}"), lambda n, i=i: changes(i, n)) for i in range(300))  # type: ignore[misc]
    )
    assert [each.run.run for each in made] == [f"r{i}" for i in range(300)]
    assert [each.run.config["x"] for each in made] == list(range(300))
    assert not any(each.existed for each in made)
    assert counting.calls <= 6
    again = await creations.make(named("r7"), lambda _: [])
    assert again.existed
    assert again.run.config == {"x": 7}


async def test_the_same_run_twice_is_new_once(catalog: SqlCatalog) -> None:
    creations = Creations(catalog)
    made = await asyncio.gather(*(creations.make(named("same"), lambda _: []) for _ in range(5)))
    assert sorted(each.existed for each in made) == [False, True, True, True, True]
    assert len({each.run.number for each in made}) == 1


async def test_an_error_reaches_all_that_wait_and_the_next_ones_succeed(
    catalog: SqlCatalog,
) -> None:
    counting = Counting(catalog)
    creations = Creations(counting)  # type: ignore[arg-type]
    counting.error = Transient("the catalog is away", code=ErrorCode.UNAVAILABLE)
    results = await asyncio.gather(
        *(creations.make(named(f"r{i}"), lambda _: []) for i in range(10)), return_exceptions=True
    )
    assert [type(result) for result in results] == [Transient] * 10
    counting.error = None
    assert not (await creations.make(named("r1"), lambda _: [])).existed


async def test_one_that_leaves_takes_nobody_with_it(catalog: SqlCatalog) -> None:
    creations = Creations(catalog)
    tasks = [
        asyncio.create_task(creations.make(named(f"r{i}"), lambda _: [])) for i in range(20)
    ]  # fmt: skip
    await asyncio.sleep(0)
    tasks[0].cancel()  # the one whose turn it is
    tasks[5].cancel()  # one that waits
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(results[i]) for i in (0, 5)] == [asyncio.CancelledError] * 2
    made = [result for result in results if not isinstance(result, BaseException)]
    assert len(made) == 18
