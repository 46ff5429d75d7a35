"""Catalogs in new, empty databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from penstock_common.process.bounds import Bounds
from penstock_storage.catalog import SqlCatalog

__all__ = ["NewUrl", "opened"]

NewUrl = Callable[[], Awaitable[str]]
"""Makes the URL of a new database."""


@asynccontextmanager
async def opened(url: str, **bounds: int) -> AsyncIterator[SqlCatalog]:
    """A catalog that is set up, and whose clock stands still; with these bounds, if any."""
    catalog = SqlCatalog(url, clock=lambda: 1_000, bounds=Bounds(**bounds))
    try:
        await catalog.setup()
        yield catalog
    finally:
        await catalog.close()
