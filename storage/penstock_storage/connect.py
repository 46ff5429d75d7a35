"""Chooses the implementations of the stores by their URLs. Nothing else does."""

from __future__ import annotations

from penstock_common.process.bounds import DEFAULT_BOUNDS, Bounds
from penstock_storage.catalog import SqlCatalog
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import PointStore

__all__ = ["open_catalog", "open_points", "set_up"]


def open_points(url: str, token: str = "") -> ClickHouse:
    """The point store at this URL. Raises `ValueError` for a URL of another kind."""
    return ClickHouse(url, token=token)


def open_catalog(url: str, bounds: Bounds = DEFAULT_BOUNDS) -> SqlCatalog:
    """The catalog at this SQLAlchemy URL."""
    return SqlCatalog(url, bounds=bounds)


async def set_up(catalog: Catalog, points: PointStore) -> None:
    """Create both stores, or upgrade them, in one process at a time: others wait.

    It may be killed anywhere and continues at the next start: the catalog's revisions are one transaction,
    and each statement for the point store may be repeated.
    """
    async with catalog.setup_alone():
        await catalog.setup()
        await points.setup()
