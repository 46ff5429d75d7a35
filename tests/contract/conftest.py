"""Catalogs on SQLite and PostgreSQL: a test that asks for one runs on both."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.catalogs import NewUrl, opened
from support.postgres import Postgres, running_postgres, why_no_postgres

from penstock_storage.catalog import SqlCatalog


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[Postgres]:
    if reason := why_no_postgres():
        pytest.skip(reason)
    async with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_database
    numbers = itertools.count()

    async def new_file() -> str:
        return f"sqlite+aiosqlite:///{tmp_path}/catalog{next(numbers)}.db"

    return new_file


@pytest.fixture
async def url(new_url: NewUrl) -> str:
    return await new_url()


@pytest.fixture
async def catalog(url: str) -> AsyncIterator[SqlCatalog]:
    async with opened(url) as catalog:
        yield catalog
