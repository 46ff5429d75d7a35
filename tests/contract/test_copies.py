"""Copies of the stores are whole: taken while others write, and from one kind of database to the
other."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from support.fuzzing import seeds
from support.postgres import running_postgres, why_no_postgres
from support.series import SeriesData, brute_force, store_series
from support.store import StoreAddress, shared_store

from penstock.errors import Broken
from penstock_storage.backup import points_backup as backup
from penstock_storage.backup.archive import ArchiveWriter, open_archive
from penstock_storage.catalog import SqlCatalog
from penstock_storage.catalog.copying import dump_catalog, load_catalog, require_empty
from penstock_storage.catalog.database import Database
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.clickhouse.schema import SCHEMA_VERSION
from penstock_storage.contracts.interface import ApiKey, Columns, RunChange, RunRef

SHIFT = 8
Hook = Callable[[str], Any]


@pytest_asyncio.fixture
async def handle() -> AsyncIterator[StoreAddress]:
    async with shared_store() as running:
        yield running


@pytest_asyncio.fixture
async def store(handle: StoreAddress) -> AsyncIterator[ClickHouse]:
    client = handle.client()
    await client.setup()
    yield client
    await client.close()


class Interrupted(ClickHouse):
    """A client that lets somebody else write each time before a table is read."""

    hook: Hook

    def stream(
        self, sql: str, params: Mapping[str, object] | None = None
    ) -> AsyncIterator[Columns]:
        return self._after_hook(sql, params)

    async def _after_hook(
        self, sql: str, params: Mapping[str, object] | None
    ) -> AsyncIterator[Columns]:
        await self.hook(sql)
        async for block in super().stream(sql, params):
            yield block


def quiet(_: str, __: int) -> None:
    return None


async def rebuild(store: ClickHouse, bucket: int, ver: int) -> None:
    """What a compactor does with a dirty bucket: the tier whole from points, then the mark."""
    low, high = bucket << SHIFT, (bucket + 1) << SHIFT
    found = await store.query(
        "SELECT step, v FROM penstock.points FINAL WHERE key = 1 AND run = 1"
        f" AND step >= {low} AND step < {high} ORDER BY step"
    )
    points = dict(zip(found["step"], found["v"], strict=True))
    (b,) = brute_force([points], SHIFT).values()
    steps = sorted(points)
    row: dict[str, float] = {
        "key": 1, "run": 1, "lane": 0, "shift": SHIFT, "bucket": bucket, "first_step": b.first_step,
        "last_step": b.step, "min": b.min, "max": b.max, "sum": b.mean * b.count, "count": b.count,
        "first": points[steps[0]], "last": points[steps[-1]], "non_finite": 0, "ver": ver,
    }  # fmt: skip
    await store.insert("tiers", {name: np.array([value]) for name, value in row.items()})
    await mark(store, bucket, 0, ver)


async def mark(store: ClickHouse, bucket: int, dirty: int, ver: int) -> None:
    row = {
        "key": 1, "run": 1, "lane": 0, "shift": SHIFT, "bucket": bucket, "dirty": dirty, "ver": ver
    }  # fmt: skip
    await store.insert("dirty", {name: np.array([value]) for name, value in row.items()})


async def add_point(store: ClickHouse, step: int, v: float, seq: int) -> None:
    row: dict[str, float] = {"key": 1, "run": 1, "lane": 0, "step": step, "v": v, "seq": seq}
    await store.insert("points", {name: np.array([value]) for name, value in row.items()})


async def commit(store: ClickHouse, seq: int) -> None:
    """A point, and then the mark that says that it is there."""
    row: dict[str, float] = {"key": 2, "run": 1, "lane": 0, "step": seq, "v": 1.0, "seq": seq}
    await store.insert("points", {name: np.array([value]) for name, value in row.items()})
    mark = {"run": 1, "lane": 0, "low": seq, "ver": seq}
    columns: dict[str, Any] = {name: np.array([value]) for name, value in mark.items()}
    await store.insert("applied", {**columns, "writer": ["w"], "gaps": [[]], "dead": [[]]})


async def commits(store: ClickHouse) -> set[int]:
    found = await store.query("SELECT step FROM penstock.points WHERE key = 2")
    return set(map(int, found["step"]))


async def clean_tiers_match(store: ClickHouse) -> int:
    """Check every tier row that charts would believe; returns how many there are."""
    tiers = await store.query(
        "SELECT bucket, count, sum, last_step FROM penstock.tiers FINAL WHERE shift = 8 AND bitShiftLeft(bucket, 8) <"
        " (SELECT max(tiered) FROM penstock.series) AND bucket NOT IN"
        " (SELECT bucket FROM penstock.dirty FINAL WHERE dirty = 1)"
    )
    points = await store.query(
        "SELECT bitShiftRight(step, 8) AS bucket, count() AS count, sum(v) AS sum, max(step) AS last_step"
        " FROM penstock.points FINAL WHERE key = 1 GROUP BY bucket"
    )
    names = ("bucket", "count", "sum", "last_step")
    want = {row[0]: row for row in zip(*(points[name] for name in names), strict=True)}
    rows = list(zip(*(tiers[name] for name in names), strict=True))
    for row in rows:
        assert row == want[row[0]]
    return len(rows)


@pytest.mark.parametrize("seed", seeds(4, quick=0, smoke=1))
async def test_a_copy_taken_while_others_write_is_whole(
    handle: StoreAddress, store: ClickHouse, tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = {step: float(step) for step in range(20 << SHIFT)}
    await store_series(store, [SeriesData(1, 1, 0, points, tiered=20 << SHIFT)])
    vers = iter(range(100, 10_000))
    dirty: set[int] = set()

    async def write(_sql: str) -> None:
        await commit(store, next(vers))
        for _ in range(4):
            bucket, ver = int(rng.integers(20)), next(vers)
            if rng.random() < 0.5:
                await mark(store, bucket, 1, ver)
                await add_point(store, (bucket << SHIFT) + 7, float(ver), ver)
                dirty.add(bucket)
            elif dirty:
                await rebuild(store, dirty.pop(), ver)

    for _ in range(3):
        await write("")
    client = Interrupted(handle.url, token=handle.token)
    client.hook = write
    archive = ArchiveWriter(tmp_path / "copy")
    await backup.dump_points(client, archive, quiet)
    await client.close()
    archive.finish({"points_schema": SCHEMA_VERSION})
    async with shared_store() as second:
        restored = second.client()
        await restored.setup()
        await backup.load_points(restored, open_archive(tmp_path / "copy"), quiet)
        assert await clean_tiers_match(restored)
        claimed = await restored.query("SELECT low FROM penstock.applied FINAL")
        wanted = {seq for seq in await commits(store) if seq <= int(claimed["low"][0])}
        assert wanted
        assert await commits(restored) >= wanted
        assert await restored.store_id() != await store.store_id()
        found = await restored.query(
            "SELECT tiered, first_step, last_step FROM penstock.series FINAL"
        )
        assert [int(found[name][0]) for name in found] == [20 << SHIFT, 0, (20 << SHIFT) - 1]
        with pytest.raises(Broken, match="not empty"):
            await backup.require_empty(restored)
        await restored.close()


async def test_every_kind_of_value_comes_back(store: ClickHouse, tmp_path: Path) -> None:
    steps = [-(2**53) + 1, -1, 0, 1, 2**53 - 1]
    values = [math.nan, math.inf, -math.inf, -0.0, 5e-324]
    await store_series(store, [SeriesData(1, 1, 0, dict(zip(steps, values, strict=True)))])
    ones = np.ones(1, np.uint8)
    text = 'é\n"\x00\t\\ 🙂'
    await store.insert(
        "values",
        {"key": ones, "run": ones, "lane": ones, "step": ones, "kind": ["string"], "json": [text],
         "seq": ones},
    )  # fmt: skip
    await store.insert(
        "applied",
        {"run": ones, "lane": ones, "writer": ["w"], "low": ones, "gaps": [[5, 7]], "dead": [[]],
         "ver": ones * 9},
    )  # fmt: skip
    await store.insert(
        "batches",
        {"run": ones, "lane": ones, "seq": ones, "digest": np.array([2**64 - 1], np.uint64),
         "points": ones, "records": ones},
    )  # fmt: skip
    archive = ArchiveWriter(tmp_path / "copy")
    await backup.dump_points(store, archive, quiet)
    archive.finish({"points_schema": SCHEMA_VERSION})
    async with shared_store() as second:
        restored = second.client()
        await restored.setup()
        await backup.load_points(restored, open_archive(tmp_path / "copy"), quiet)
        for sql in (
            "SELECT key, run, lane, step, reinterpretAsUInt64(v) AS v, seq FROM penstock.points"
            " ORDER BY step",
            "SELECT run, lane, step, t FROM penstock.times ORDER BY step",
            "SELECT json, kind FROM penstock.values",
            "SELECT run, lane, writer, low, gaps, dead FROM penstock.applied",
            "SELECT run, lane, seq, digest, points, records FROM penstock.batches",
        ):
            want, found = await store.query(sql), await restored.query(sql)
            assert {k: list(v) for k, v in found.items()} == {k: list(v) for k, v in want.items()}
        await restored.close()


async def lines_of(url: str) -> list[bytes]:
    database = Database(url)
    try:
        return [line async for line in dump_catalog(database)]
    finally:
        await database.close()


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_catalog_moves_between_databases(tmp_path: Path) -> None:
    if reason := why_no_postgres():
        pytest.skip(reason)
    first = f"sqlite+aiosqlite:///{tmp_path}/first.db"
    catalog = SqlCatalog(first)
    await catalog.setup()
    refs = [RunRef("ana", "mnist", f"r{n}") for n in range(600)]
    rows = await catalog.ensure_runs(refs)
    number = rows[refs[0]].number
    await catalog.ensure_keys(rows[refs[0]].project_number, ["loss", "ключ"])
    await catalog.ensure_lanes([(number, "w", 3, 17)])
    config = {"nan": math.nan, "big": 10**40, "text": "é\x00", "deep": {"a": [None, True]}}
    await catalog.apply_changes([RunChange(number, "w1", 1, 0, "config", config)], 5)
    key = ApiKey("id", "ana", frozenset({"read", "write"}), b"\x00\xff hash", False)
    await catalog.add_api_key(key, "label")
    await catalog.close()
    lines = await lines_of(first)
    async with running_postgres() as server:
        second = await server.new_database()
        copy = SqlCatalog(second)
        await copy.setup()
        database = Database(second)
        await require_empty(database)
        assert await load_catalog(database, iter(lines)) == len(lines)
        with pytest.raises(Broken, match="not empty"):
            await require_empty(database)
        await database.close()
        assert await lines_of(second) == lines
        assert await copy.api_key("id") == key
        new = await copy.ensure_runs([RunRef("ana", "mnist", "new")])
        assert next(iter(new.values())).number > max(row.number for row in rows.values())
        await copy.close()
    third = f"sqlite+aiosqlite:///{tmp_path}/third.db"
    again = SqlCatalog(third)
    await again.setup()
    database = Database(third)
    assert await load_catalog(database, iter(lines)) == len(lines)
    with pytest.raises(Broken, match="unheard"):
        await load_catalog(database, iter([b'["unheard", {}]']))
    await database.close()
    assert await lines_of(third) == lines
    await again.close()


async def test_a_copy_from_before_batches_had_a_table(store: ClickHouse, tmp_path: Path) -> None:
    await add_point(store, 5, 1.0, 1)
    archive = ArchiveWriter(tmp_path / "copy")
    await backup.dump_points(store, archive, quiet)
    archive.finish({"points_schema": SCHEMA_VERSION})
    (tmp_path / "copy" / "batches.zst").unlink()
    manifest = tmp_path / "copy" / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["files"]["batches"]
    manifest.write_text(json.dumps(content))
    async with shared_store() as second:
        restored = second.client()
        await restored.setup()
        await backup.load_points(restored, open_archive(tmp_path / "copy"), quiet)
        found = await restored.query("SELECT count() AS n FROM penstock.points")
        assert int(found["n"][0]) == 1
        await restored.close()
