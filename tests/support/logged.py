"""What an installation has of a run, read as its users read it: through Penstock's own API."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from support.up import Up, wait_until

from penstock.wire import SYSTEM_RANK
from penstock_server.datafolder import DataFolder
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.clickhouse.schema import DATABASE

__all__ = ["ConsoleLine", "Logged", "logged_runs"]

_ENTITY = "local"


@dataclass(frozen=True, order=True)
class ConsoleLine:
    """One line of console output; `lane` tells writers apart."""

    lane: int
    number: int
    stream: str
    text: str


class Logged:
    """One run of the entity `local`."""

    def __init__(self, up: Up, project: str, run: str) -> None:
        self._up = up
        self._names = (_ENTITY, project, run)
        self._path = "/".join(quote(name, safe="") for name in self._names)

    def fields(self) -> dict[str, Any]:
        """Name, state, config, summary, tags …"""
        found: dict[str, Any] = self._up.get(f"/v1/runs/{self._path}")
        return found

    def state(self) -> str:
        return str(self.fields()["state"])

    def wait_for(self, state: str, timeout_s: float = 30.0) -> None:
        """Return once the run is in this state."""
        wait_until(lambda: self.state() == state, timeout_s)

    def history(self, **query: str) -> list[dict[str, Any]]:
        """Its rows in step order, without when they were logged."""
        return [
            {key: value for key, value in row.items() if key not in ("_timestamp", "_runtime")}
            for row in self.rows(**query)
        ]

    def rows(self, **query: str) -> list[dict[str, Any]]:
        """Its rows in step order, with all that they have."""
        body = self._body("history", **query)
        return [json.loads(line) for line in body.splitlines()]

    def column(self, key: str, **query: str) -> list[Any]:
        """The values of one key in step order."""
        return [row[key] for row in self.rows(keys=key, **query)]

    def table(self, **query: str) -> pa.Table:
        """Its rows as Parquet has them, all parts."""
        listed = self._up.get(f"/v1/runs/{self._path}/export/parts?{urlencode(query)}")
        parts = [
            pq.read_table(io.BytesIO(self._body("export", **query, **part)))
            for part in listed["parts"]
        ]
        return pa.concat_tables(parts)

    def keys(self) -> dict[str, dict[str, Any]]:
        """What is known of each key."""
        found, after = {}, ""
        while True:
            query = urlencode({"after": after} if after else {})
            page = self._up.get(f"/v1/runs/{self._path}/keys?{query}")
            found.update({each["key"]: each for each in page["keys"]})
            after = page["next"]
            if not after:
                return found

    def console(self) -> list[ConsoleLine]:
        """Its console lines, as they last were."""
        sql = "SELECT lane, line, stream, text FROM {}.console FINAL WHERE run = {}"
        return sorted(ConsoleLine(*map(_plain, row)) for row in self._select(sql))

    def system(self) -> dict[str, dict[int, float]]:
        """The machine's own metrics: line number -> value by key, of all writers together."""
        names = dict(
            _catalog(
                self._up,
                "SELECT keys.number, keys.name FROM keys JOIN projects ON keys.project ="
                " projects.number WHERE projects.project = ?",
                self._names[1],
            )
        )
        sql = (
            "SELECT key, step, v FROM {0}.points FINAL WHERE run = {1} AND lane IN"
            f" ({', '.join(str(lane) for lane, rank, _ in self.lanes() if rank >= SYSTEM_RANK)})"
        )
        found: dict[str, dict[int, float]] = {}
        for key, step, value in self._select(sql):
            found.setdefault(names[int(key)], {})[int(step)] = float(value)
        return found

    def lanes(self) -> list[tuple[int, int, str]]:
        """Its writers: (lane, rank, name)."""
        return _catalog(
            self._up, "SELECT lane, rank, writer FROM lanes WHERE run = ?", self._number()
        )

    def _number(self) -> int:
        [(number,)] = _catalog(
            self._up,
            "SELECT runs.number FROM runs JOIN projects ON runs.project = projects.number"
            " WHERE projects.project = ? AND runs.run = ?",
            *self._names[1:],
        )
        return int(number)

    def _select(self, sql: str) -> list[tuple[Any, ...]]:
        return asyncio.run(_read(self._up, sql.format(DATABASE, self._number())))

    def _body(self, what: str, **query: str) -> bytes:
        request = Request(f"{self._up.url}/v1/runs/{self._path}/{what}?{urlencode(query)}")
        request.add_header("Authorization", f"Bearer {self._up.api_key}")
        with urlopen(request, timeout=60) as reply:
            body: bytes = reply.read()
            return body


def logged_runs(up: Up, project: str) -> list[dict[str, Any]]:
    """The runs of a project, the newest first."""
    found: list[dict[str, Any]] = up.get(f"/v1/projects/{_ENTITY}/{quote(project)}/runs")["runs"]
    return found


async def _read(up: Up, sql: str) -> list[tuple[Any, ...]]:
    folder = DataFolder(up.folder / "data")
    url = f"unix://{folder.socket('store.sock')}"
    store = ClickHouse(url, token=folder.secret("store_token"))
    try:
        columns = await store.query(sql)
        return list(zip(*columns.values(), strict=True))
    finally:
        await store.close()


def _catalog(up: Up, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    path = DataFolder(up.folder / "data").catalog
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as catalog:
        return catalog.execute(sql, parameters).fetchall()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
