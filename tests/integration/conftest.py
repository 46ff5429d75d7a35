"""What many files here work with: a store of their own, a server that the client sends to."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.ledger import Ledger, serve_ledger
from support.scripts import Scripts
from support.spools import Senders
from support.store import shared_store

from penstock_storage.clickhouse.client import ClickHouse


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store() -> AsyncIterator[ClickHouse]:
    async with shared_store() as handle:
        client = handle.client()
        await client.setup()
        yield client
        await client.close()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A server that keeps all that comes; and a login file of the test's own, an empty one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with serve_ledger() as served:
        yield served


@pytest.fixture
def sender_of(ledger: Ledger) -> Iterator[Senders]:
    """Makes senders to that server."""
    senders = Senders(ledger)
    yield senders
    senders.close()


@pytest.fixture
def faults() -> Iterator[Path]:
    """A folder for failpoints and sockets, with a short name."""
    with tempfile.TemporaryDirectory(prefix="ps-") as folder:
        yield Path(folder)


@pytest.fixture
def scripts(tmp_path: Path, ledger: Ledger) -> Iterator[Scripts]:
    """Scripts of a user's, with a folder of their own, that log to the ledger."""
    made = Scripts(tmp_path / "root", ledger.url)
    yield made
    made.end_shipper()
