"""Chooses the implementations of the stores by their URLs. Nothing else does."""

from __future__ import annotations

from penstock_common.process.bounds import DEFAULT_BOUNDS, Bounds
from penstock_storage.catalog import SqlCatalog
from penstock_storage.clickhouse.client import ClickHouse

__all__ = ["open_catalog", "open_points"]


def open_points(url: str, token: str = "") -> ClickHouse:
    """The point store at this URL. Raises `ValueError` for a URL of another kind."""
    return ClickHouse(url, token=token)


def open_catalog(url: str, bounds: Bounds = DEFAULT_BOUNDS) -> SqlCatalog:
    """The catalog at this SQLAlchemy URL."""
    return SqlCatalog(url, bounds=bounds)
