"""API keys for other entities of a running installation."""

from __future__ import annotations

import asyncio

from support.up import Up

from penstock_common.http.auth import mint_key
from penstock_server.datafolder import DataFolder
from penstock_storage.connect import open_catalog

__all__ = ["new_key"]


def new_key(up: Up, entity: str, *scopes: str) -> str:
    """A key that the installation knows from now on."""
    folder = DataFolder(up.folder / "data")
    key, text = mint_key("user", entity, frozenset(scopes), folder.secret("pepper"))

    async def add() -> None:
        catalog = open_catalog(f"sqlite+aiosqlite:///{folder.catalog}")
        try:
            await catalog.add_api_key(key, "test")
        finally:
            await catalog.close()

    asyncio.run(add())
    return text
