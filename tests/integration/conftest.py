"""What many files here read from: a store of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from support.store import running_store

from penstock_storage.clickhouse import ClickHouse


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClickHouse]:
    async with running_store(tmp_path_factory.mktemp("store")) as handle:
        client = handle.client()
        await client.setup()
        yield client
        await client.close()
