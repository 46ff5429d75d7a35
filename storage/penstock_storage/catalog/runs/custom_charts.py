"""Chart presets of entities: named specifications.

They are few and small, and are only looked up by name, so they are rows of `meta`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import select, update

from penstock_storage.catalog.database import Database
from penstock_storage.catalog.tables import meta

__all__ = ["CustomCharts"]


class CustomCharts:
    """The presets of all entities."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, entity: str, name: str, chart: dict[str, Any]) -> None:
        """Store this under the name, replacing an earlier one."""
        row = {"name": _row_name(entity, name), "value": json.dumps(chart)}
        async with self._database.writing() as connection:
            await connection.execute(self._database.insert_missing(meta), row)
            await connection.execute(
                update(meta).where(meta.c.name == row["name"]).values(value=row["value"])
            )

    async def find(self, entity: str, name: str) -> dict[str, Any] | None:
        """The preset with this name."""
        query = select(meta.c.value).where(meta.c.name == _row_name(entity, name))
        async with self._database.reading() as connection:
            text = await connection.scalar(query)
        found: dict[str, Any] | None = None if text is None else json.loads(text)
        return found


def _row_name(entity: str, name: str) -> str:
    digest = hashlib.sha256(f"{entity}\n{name}".encode()).hexdigest()
    return f"custom-chart:{digest[:48]}"
