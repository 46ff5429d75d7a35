"""The catalog's clock: a row of `meta` that only goes forward, so that an older copy is known by it."""

from __future__ import annotations

from sqlalchemy import BigInteger, cast, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock_storage.catalog.database import Database
from penstock_storage.catalog.tables import meta

__all__ = ["advance", "read"]

_NAME = "clock"


async def read(connection: AsyncConnection) -> int:
    """What it was set to last, 0 before."""
    value = await connection.scalar(select(meta.c.value).where(meta.c.name == _NAME))
    return int(value or 0)


async def advance(database: Database, connection: AsyncConnection, at: int) -> None:
    """Set it to `at`, unless it is there already."""
    row = {"name": _NAME, "value": str(at)}
    await connection.execute(database.insert_missing(meta), row)
    is_behind = cast(meta.c.value, BigInteger) < at
    await connection.execute(
        update(meta).where(meta.c.name == _NAME, is_behind).values(value=str(at))
    )
