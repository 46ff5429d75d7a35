"""Serializes the catalog's tables as JSON lines, from one database into another of either kind.

A line is a row, `["runs", {"number": 7, …}]`; bytes are base64. The copy is one consistent snapshot.
The content of tables is not interpreted, so new tables and columns are copied too; a column missing in
an older copy gets its default.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from itertools import groupby, islice
from typing import Any

from sqlalchemy import LargeBinary, Table, func, select, text

from penstock.errors import Broken
from penstock_storage.catalog.database import Database
from penstock_storage.catalog.tables import metadata
from penstock_storage.catalog.tombstones import raise_above_deleted

__all__ = ["dump_catalog", "load_catalog", "require_empty"]

_ROWS = 500
_OF_SETUP = "meta"
"""The table that is written when a database is set up: it identifies the database."""


async def dump_catalog(database: Database) -> AsyncIterator[bytes]:
    """Every row as a line, tables in the order in which they can be loaded."""
    async with database.reading() as connection:
        if not database.is_sqlite:  # one view for all statements, as SQLite has it anyway
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        for table in _tables():
            rows = await connection.stream(select(table))
            async for row in rows.mappings():
                yield _line(table, dict(row))


async def load_catalog(database: Database, lines: Iterator[bytes]) -> int:
    """Load the rows of a copy into a database that is set up and empty, all or none.

    Returns their number. Raises `Broken` for a line of an unknown table.
    """
    tables = {table.name: table for table in _tables()}
    loaded = 0
    async with database.writing() as connection:
        for name, rows in groupby(map(json.loads, lines), key=lambda line: str(line[0])):
            table = tables.get(name)
            if table is None:
                raise Broken(f"the copy has a table {name!r}, which this Penstock does not know")
            while some := [_row(table, row) for _, row in islice(rows, _ROWS)]:
                await connection.execute(table.insert(), some)
                loaded += len(some)
            if "number" in table.c:
                await database.raise_sequence(connection, table)
        await raise_above_deleted(database, connection)
    return loaded


async def require_empty(database: Database) -> None:
    """Raise `Broken` if a database that is set up holds any data."""
    async with database.reading() as connection:
        for table in _tables():
            if await connection.scalar(select(func.count()).select_from(table)):
                raise Broken(f"the catalog is not empty: its table {table.name} has rows")


def _tables() -> list[Table]:
    return [table for table in metadata.sorted_tables if table.name != _OF_SETUP]


def _line(table: Table, row: dict[str, Any]) -> bytes:
    for column in table.c:
        if isinstance(column.type, LargeBinary) and row[column.name] is not None:
            row[column.name] = base64.b64encode(row[column.name]).decode()
    return json.dumps([table.name, row], separators=(",", ":")).encode() + b"\n"


def _row(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    for column in table.c:
        if isinstance(column.type, LargeBinary) and row.get(column.name) is not None:
            row[column.name] = base64.b64decode(row[column.name])
    return row
