"""The catalog's database leaves no connection behind."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest
from sqlalchemy import text

from penstock_storage.catalog.database import Database, with_driver


async def outlive(url: str, *, is_writing: bool, is_cancelled: bool) -> None:
    """A transaction that begins before the database is closed, and ends after it."""
    database, began, end = Database(url), asyncio.Event(), asyncio.Event()

    async def use() -> int | None:
        async with database.writing() if is_writing else database.reading() as connection:
            began.set()
            await end.wait()
            found: int | None = await connection.scalar(text("SELECT 1"))
            return found

    using = asyncio.create_task(use())
    await began.wait()
    if is_cancelled:
        using.cancel()
    await database.close()
    end.set()
    await asyncio.wait([using])
    assert using.cancelled() == is_cancelled
    assert is_cancelled or using.result() == 1


@pytest.mark.parametrize("is_writing", [False, True])
@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_transaction_that_outlives_the_database_closes_its_connection(
    catalog_url: str, is_writing: bool, is_cancelled: bool
) -> None:
    await outlive(catalog_url, is_writing=is_writing, is_cancelled=is_cancelled)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        gc.collect()
    assert not said


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://app:p%40ss@db-rw.penstock.svc:5432/app", "postgresql+asyncpg"),
        ("postgres://app@db/app", "postgresql+asyncpg"),
        ("postgresql+asyncpg://app@db/app", "postgresql+asyncpg"),
        ("sqlite+aiosqlite:///catalog.db", "sqlite+aiosqlite"),
    ],
)
def test_urls_of_database_operators_need_no_driver(url: str, driver: str) -> None:
    found = with_driver(url)
    assert found.drivername == driver
    rest = url.partition("://")[2]
    assert found.render_as_string(hide_password=False) == f"{driver}://{rest}"
