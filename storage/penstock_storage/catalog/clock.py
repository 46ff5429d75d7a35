"""The catalog's clock: a row of `meta` that only moves forward, by which an older copy is recognized."""

from __future__ import annotations

from sqlalchemy import BigInteger, cast, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock_storage.catalog.database import Database
from penstock_storage.catalog.tables import meta
from penstock_storage.contracts.ids import Micros

__all__ = ["advance", "read"]

_NAME = "clock"


async def read(connection: AsyncConnection) -> Micros:
    """The last value; 0 if it was never set."""
    value = await connection.scalar(select(meta.c.value).where(meta.c.name == _NAME))
    return Micros(int(value or 0))


async def advance(database: Database, connection: AsyncConnection, at: int) -> None:
    """Move it to `at`, unless it is already there."""
    row = {"name": _NAME, "value": str(at)}
    await connection.execute(database.insert_missing(meta), row)
    is_behind = cast(meta.c.value, BigInteger) < at
    await connection.execute(
        update(meta).where(meta.c.name == _NAME, is_behind).values(value=str(at))
    )
