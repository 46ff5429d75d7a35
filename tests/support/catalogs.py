"""Catalogs in new, empty databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from penstock_common.process.bounds import Bounds
from penstock_storage.catalog import SqlCatalog

__all__ = ["NewUrl", "new_catalog_file", "opened"]

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


async def new_catalog_file(path: Path) -> str:
    """The URL of a new catalog in this file, with its tables and no rows. It is a copy: to create one takes
    half a second."""
    url = f"sqlite+aiosqlite:///{path}"
    if not path.exists():
        if not _EMPTY:
            async with opened(url):
                pass
            _EMPTY.append(path.read_bytes())
        path.write_bytes(_EMPTY[0])
    return url


_EMPTY: list[bytes] = []
"""The file of a catalog that was set up."""
