"""A point store in this process, for tests of what is stored and not of how.

Its tables lie in SQLite, so it answers the plain SELECT statements that workers ask of their store and
no others: a statement with anything else of ClickHouse's raises `Broken`, as from any store that
refuses it. `tests/contract/test_point_store.py` holds it to what the real one does.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import numpy as np

from penstock.errors import Broken
from penstock.ids import new_store_id
from penstock_storage.clickhouse import native, schema
from penstock_storage.clickhouse.schema import COLUMNS
from penstock_storage.contracts.ids import Micros
from penstock_storage.contracts.interface import Column, Columns

__all__ = ["MemoryPointStore"]

MAX_PART_ROWS = 1_048_449
_SIGN, _RANGE = 1 << 63, 1 << 64  # SQLite's integers have a sign
_PARAMETER = re.compile(r"\{(\w+):(\w+(?:\(\w+\))?)\}")
_ZIPPED = re.compile(r"SELECT each\.1, each\.2, each\.3 FROM \(\s*SELECT arrayJoin\(\s*arrayZip\((.*?)\)\s*\) AS each\s*\)", re.S)  # fmt: skip
_TABLE = re.compile(r"\bpenstock\.(\w+)( FINAL)?")
_ENGINE = re.compile(r"ReplacingMergeTree(?:\((\w+)\))?")


class MemoryPointStore:
    """A `PointStore`. `inserted` counts the rows that came for each table, repeats included."""

    def __init__(self) -> None:
        self.inserted: dict[str, int] = {}
        self.connections = 1
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._meta: dict[str, str] = {}
        for table, columns in COLUMNS.items():
            names = ", ".join(name for each in columns for name in _stored(table, each))
            self._database.execute(f'CREATE TABLE "{table}" ({names})')

    async def setup(self) -> None:
        self._meta.setdefault("store_id", new_store_id())

    async def store_id(self) -> str:
        if "store_id" not in self._meta:
            raise Broken("the point store has no id: it was never set up")
        return self._meta["store_id"]

    async def renew_id(self) -> str:
        self._meta["store_id"] = new_store_id()
        return self._meta["store_id"]

    async def id_and_clock(self) -> tuple[str, Micros]:
        return await self.store_id(), Micros(int(self._meta.get("clock", 0)))

    async def set_clock(self, at: int) -> None:
        self._meta["clock"] = str(max(at, int(self._meta.get("clock", 0))))

    async def noted(self, name: str) -> str | None:
        return self._meta.get(name)

    async def note(self, name: str, text: str) -> None:
        self._meta[name] = text

    async def insert(self, table: str, columns: Mapping[str, Column]) -> None:
        native.encode_block({name: each for name, (each, _) in COLUMNS[table].items()}, columns)
        lists: list[list[Any]] = []  # what passed that fits its types
        for name, (type_name, dtype) in COLUMNS[table].items():
            column = columns[name]
            if isinstance(column, tuple):
                lists += [_integers(column[0].tolist()), column[1].tolist()]
            elif dtype is not None:
                lists.append(_integers(np.asarray(column).astype(dtype).tolist()))
            elif type_name.startswith("Array"):
                lists.append([json.dumps([int(n) for n in each]) for each in column])
            else:
                lists.append(list(column))
        rows = len(lists[0])
        if rows > MAX_PART_ROWS:
            raise ValueError(f"{rows} rows are more than the {MAX_PART_ROWS} of one atomic part")
        places = ", ".join("?" * len(lists))
        with self._database:
            self._database.executemany(
                f'INSERT INTO "{table}" VALUES ({places})', zip(*lists, strict=True)
            )
        self.inserted[table] = self.inserted.get(table, 0) + rows

    async def query(self, sql: str, params: Mapping[str, object] | None = None) -> Columns:
        tables = [COLUMNS.get(table, {}) for table, _ in _TABLE.findall(sql)]
        types = {name: each for columns in tables for name, (each, _) in columns.items()}
        try:
            cursor = self._database.execute(_translated(sql, params or {}))
        except sqlite3.Error as error:
            raise Broken(f"the statement is beyond a store in memory: {error}: {sql}") from error
        names = [each[0] for each in cursor.description]
        columns = list(zip(*cursor.fetchall(), strict=True)) or [()] * len(names)
        return {
            name: _column(types.get(name, ""), column)
            for name, column in zip(names, columns, strict=True)
        }

    async def stream(
        self, sql: str, params: Mapping[str, object] | None = None
    ) -> AsyncIterator[Columns]:
        found = await self.query(sql, params)
        if any(len(column) for column in found.values()):
            yield found

    def download(self, sql: str, settings: Mapping[str, str] | None = None) -> AsyncIterator[bytes]:
        raise Broken(f"a store in memory has no formats: {sql}")

    async def execute(self, sql: str, params: Mapping[str, object] | None = None) -> None:
        raise Broken(f"a store in memory is only asked and inserted into: {sql}")

    async def close(self) -> None:
        self._database.close()


def _stored(table: str, name: str) -> list[str]:
    is_pair = COLUMNS[table][name][0].startswith("Tuple")
    return [f'"{name}.1"', f'"{name}.2"'] if is_pair else [f'"{name}"']


def _integers(values: list[Any]) -> list[Any]:
    return [v - _RANGE if isinstance(v, int) and v >= _SIGN else v for v in values]


def _translated(sql: str, params: Mapping[str, object]) -> str:
    def zipped(found: re.Match[str]) -> str:
        names = [name for name, _ in _PARAMETER.findall(found[1])]
        rows = zip(*(params[name] for name in names), strict=True)
        return "VALUES " + ", ".join(str(tuple(map(int, row))) for row in rows)

    def parameter(found: re.Match[str]) -> str:
        value = params[found[1]]
        if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
            return f"({', '.join(map(_literal, value))})"
        return _literal(value)

    def table(found: re.Match[str]) -> str:
        return _final(found[1]) if found[2] else f'"{found[1]}"'

    sql = _PARAMETER.sub(parameter, _ZIPPED.sub(zipped, sql))
    sql = _TABLE.sub(table, sql).replace("UNION DISTINCT", "UNION")
    return re.sub(r"\buniqExact\((\w+)\)", r"count(DISTINCT \1)", sql)


def _literal(value: object) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(float(value)) if isinstance(value, float) else str(int(value))  # type: ignore[call-overload]


def _final(table: str) -> str:
    """The newest row of each key, as the table's engine keeps it: of equals, the one inserted last."""
    engine, order = schema.TABLES[table].engine, schema.TABLES[table].order
    found = _ENGINE.fullmatch(engine)
    if found is None:
        raise Broken(f"a store in memory does not merge the rows of {table}")
    newest = f'"{found[1]}" DESC, rowid DESC' if found[1] else "rowid DESC"
    return (
        f'(SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY {order} ORDER BY {newest}) AS "#"'
        f' FROM "{table}") WHERE "#" = 1)'
    )


def _column(type_name: str, values: Sequence[Any]) -> Column:
    if type_name.startswith("Array"):
        return [json.loads(each) for each in values]
    if type_name == "String" or any(isinstance(each, str) for each in values):
        return list(values)
    if type_name == "UInt64":
        return np.array([each % _RANGE for each in values], np.uint64)
    if type_name == "Float64" or any(isinstance(each, float) for each in values):
        return np.array(values, np.float64)
    return np.array(values, np.int64)
