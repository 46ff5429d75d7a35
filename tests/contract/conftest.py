"""Catalogs on SQLite and PostgreSQL, queues on Redis and in memory: a test that asks for one runs on both;
`make test` leaves PostgreSQL to the heavy tests."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from support.catalogs import NewUrl, new_catalog_file, opened
from support.marks import SMOKE
from support.postgres import Postgres, running_postgres, why_no_postgres
from support.redis import RedisHandle, memory_redis, running_redis

from penstock_common.queue.redis_keys import RedisKeys
from penstock_storage.catalog import SqlCatalog

DATABASES = ["sqlite", pytest.param("postgres", marks=SMOKE)]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[Postgres]:
    if reason := why_no_postgres():
        pytest.skip(reason)
    async with running_postgres() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_template(postgres: Postgres) -> str:
    """The URL of a catalog that is set up and has no rows."""
    url = await postgres.new_database()
    async with opened(url):
        pass
    return url


def numbered_files(folder: Path) -> Iterator[Path]:
    return (folder / f"catalog{number}.db" for number in itertools.count())


@pytest.fixture(params=DATABASES)
def new_empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    """Databases without a table."""
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_database
    files = numbered_files(tmp_path)

    async def new_file() -> str:
        return f"sqlite+aiosqlite:///{next(files)}"

    return new_file


@pytest.fixture(params=DATABASES)
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    """Databases with the catalog's tables and no rows: copies of one that was set up."""
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        like: str = request.getfixturevalue("postgres_template")
        return partial(server.new_database, like=like)
    files = numbered_files(tmp_path)

    async def new_file() -> str:
        return await new_catalog_file(next(files))

    return new_file


@pytest.fixture
async def url(new_url: NewUrl) -> str:
    return await new_url()


@pytest.fixture
async def catalog(url: str) -> AsyncIterator[SqlCatalog]:
    async with opened(url) as catalog:
        yield catalog


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisHandle]:
    async with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["redis", "memory"])
async def redis(request: pytest.FixtureRequest, redis_server: RedisHandle) -> AsyncIterator[Redis]:
    """An empty queue whose shard 0 belongs to `me:7`."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            client = await stack.enter_async_context(memory_redis())
        else:
            client = redis_server.client()
            stack.push_async_callback(client.aclose)
            await client.flushall()
        await client.set(RedisKeys().lease(0), "me:7")
        yield client
