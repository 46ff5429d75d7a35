"""A move takes along the rows of a run in every table that has any, also in one that is added later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.catalogs import new_catalog_file, opened

from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.clickhouse.schema import COLUMNS, KEY_TABLES, RUN_TABLES, TABLES
from penstock_storage.contracts.interface import RunRef
from penstock_workers.upkeep.mover import Mover

pytestmark = pytest.mark.asyncio(loop_scope="module")


def row(table: str, **fixed: int) -> dict[str, Any]:
    """One row with a value in every column."""
    columns: dict[str, Any] = {}
    for name, (kind, dtype) in COLUMNS[table].items():
        if dtype is not None:
            columns[name] = np.array([fixed.get(name, 1)], dtype)
        elif kind == "String":
            columns[name] = ["x"]
        elif kind.startswith("Array"):
            columns[name] = [[1, 2]]
        else:
            columns[name] = (np.array([1], "<u8"), np.array([0.5]))
    return columns


async def test_rows_of_every_table_move(store: ClickHouse, tmp_path: Any) -> None:
    async with opened(await new_catalog_file(tmp_path / "catalog.db")) as catalog:
        there, here = RunRef("e", "there", "r"), RunRef("e", "here", "r")
        rows = await catalog.ensure_runs([here, there])
        old, new = rows[here], rows[there]
        await catalog.ensure_keys(new.project_number, ["other"])  # so that the numbers differ
        key = (await catalog.ensure_keys(old.project_number, ["loss"]))["loss"]
        for table in RUN_TABLES:
            await store.insert(table, row(table, run=old.number, key=key))
        await Mover(catalog, store).copy(old.number, new.number)
        moved = (await catalog.ensure_keys(new.project_number, ["loss"]))["loss"]
    assert moved != key
    for table in RUN_TABLES:
        others = [name for name in TABLES[table].columns if name not in ("run", "key")]
        chosen = f"SELECT {', '.join(others)} FROM penstock.{table} WHERE run = "
        is_keyed = f" AND key = {moved}" if table in KEY_TABLES else ""
        copied = await store.query(f"{chosen}{new.number}{is_keyed}")
        assert repr(copied) == repr(await store.query(f"{chosen}{old.number}")), table
        assert len(copied[others[0]]) == 1, table
