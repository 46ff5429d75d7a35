"""Parts of the store damaged or deleted on disk: noticed, told, and made good by what clients send
again; what nobody sends again is counted on its run."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from benchmarks import ledger
from benchmarks.generate import Shape, batch_bytes, plans
from support.stack import Stack, eventually, running_stack
from support.tiers import tiers_settled, wrong_tiers

from penstock.errors import PenstockError, Transient
from penstock.wire import Batch, encode_batch
from penstock_common.queue.problem_list import Problems
from penstock_common.queue.problems import Problem
from penstock_common.queue.redis_keys import RedisKeys
from penstock_storage.contracts.interface import RunRef
from penstock_storage.damage.losses import find_lost_ends
from penstock_storage.damage.parts import Inventory, lost_parts, read_inventory

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(400)]

_PATIENCE_S = 150.0
"""The mender rests a hundred times as long as a check takes, which on a machine with other work is long."""

KEYS = RedisKeys()
PROJECT = "damaged"
SHAPE = Shape(runs=2, keys=2, rows=1_500, awkward=False)
BATCHES = 8
LINES = 20


def other_batch() -> bytes:
    """Values and console lines, which are no points."""
    records: list[dict[str, Any]] = [{"t": "config", "update": {"lr": 0.1}}]
    for n in range(LINES):
        records.append(
            {"t": "value", "key": "note", "step": n, "time": n, "kind": "string", "json": f'"n{n}"'}
        )
        records.append({"t": "console", "line": n, "stream": "out", "time": n, "text": f"line {n}"})
    return encode_batch(Batch(project=PROJECT, run="other", writer="w", seq=1, records=records))


async def send(stack: Stack, first: int = 1, last: int = BATCHES) -> None:
    for plan in plans(SHAPE):
        raws = [batch_bytes(SHAPE, plan, seq, project=PROJECT) for seq in range(first, last + 1)]
        status, reply = await stack.post(*raws)
        assert status == 202, reply
    status, reply = await stack.post(other_batch())
    assert status == 202, reply


async def check(stack: Stack) -> ledger.Ledger:
    sent = dict.fromkeys(plans(SHAPE), BATCHES)
    return await ledger.check(stack.store.url, stack.store.token, SHAPE, sent, PROJECT)


async def count(stack: Stack, table: str) -> int:
    found = await stack.points.query(f"SELECT count() AS n FROM penstock.{table} FINAL")
    return int(found["n"][0])


async def problem(stack: Stack) -> Problem | None:
    redis = stack.redis.client()
    try:
        found = await Problems(redis, KEYS).all()
    finally:
        await redis.aclose()
    return next((each for each in found if each.code == "store_damaged"), None)


async def parts(stack: Stack, table: str) -> list[Path]:
    found = await stack.points.query(
        "SELECT path FROM system.parts WHERE database = 'penstock' AND table = {table:String}"
        " AND active ORDER BY rows DESC",
        {"table": table},
    )
    return [Path(str(path)) for path in found["path"]]


def deleted(part: Path) -> None:
    shutil.rmtree(part)


def truncated(part: Path) -> None:
    file = part / "data.bin"
    file.write_bytes(file.read_bytes()[:-10])


def flipped(part: Path) -> None:
    file = part / "data.bin"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(bytes(data))


def without_checksums(part: Path) -> None:
    (part / "checksums.txt").write_bytes(b"\0" * 20)


async def loaded(stack: Stack) -> dict[str, int]:
    """Everything is stored, with tiers, and the worker has looked at it."""
    await send(stack)
    await stack.drained()

    async def is_tiered() -> bool:
        return await count(stack, "tiers") > 0

    async def is_noted() -> bool:
        noted = await stack.points.noted("parts")
        now = await read_inventory(stack.points)
        return bool(noted) and not lost_parts(now, Inventory.from_text(noted or ""))

    await eventually(is_tiered, _PATIENCE_S)
    await tiers_settled(stack.points)
    await eventually(is_noted, _PATIENCE_S)
    assert (await check(stack)).is_clean
    return {
        table: await count(stack, table)
        for table in ("values", "console", "times", "names", "applied")
    }


async def stop_damage_start(
    stack: Stack, table: str, damage: Callable[[Path], None], *, kill: bool, every: bool = True
) -> None:
    """Stop everything, damage parts of a table, start again."""
    (worker,) = stack.workers
    stack.workers.clear()
    found = await parts(stack, table)
    await (worker.kill() if kill else worker.stop())
    await (stack.store_process.kill() if kill else stack.store_process.stop())
    damaged = 0
    for part in found if every else found[:1]:
        if part.exists():  # else it was merged meanwhile
            damage(part)
            damaged += 1
    assert damaged
    await stack.store_process.start_again()
    await stack.start_worker()


async def is_whole(stack: Stack, before: dict[str, int]) -> bool:
    try:
        found = await check(stack)
    except KeyError:  # it looks runs up in `names`
        return False
    if not found.is_clean:
        return False
    now = {table: await count(stack, table) for table in before}
    return now == before


async def test_deleting_runs_is_no_damage(tmp_path: Path) -> None:
    """Parts of which nothing is left stay until they are merged; tables that an older version made,
    which let go of them, are changed at the start."""
    async with running_stack(tmp_path, own_store=True, workers=0) as stack:
        alter = "ALTER TABLE penstock.values MODIFY SETTING remove_empty_parts = 1"
        await stack.points.execute(alter)
        await stack.start_worker()
        await loaded(stack)
        before = await read_inventory(stack.points)
        store = await stack.points.store_id()
        numbers = await stack.catalog.numbers_of(
            [RunRef("local", PROJECT, name) for name in ("run00000", "run00001", "other")]
        )
        await stack.catalog.delete_runs(list(numbers.values()), time.time_ns() // 1000)

        async def is_purged() -> bool:
            tables = ("points", "values", "console", "batches")
            return not any([await count(stack, table) for table in tables])

        await eventually(is_purged, _PATIENCE_S)
        # As long as ClickHouse takes to let go of empty parts.
        for _ in range(60):
            assert not lost_parts(before, await read_inventory(stack.points))
            await asyncio.sleep(0.5)
        assert await problem(stack) is None
        assert await stack.points.store_id() == store


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("damage", [deleted, truncated, without_checksums])
async def test_lost_points_come_back(
    tmp_path: Path, damage: Callable[[Path], None], kill: bool
) -> None:
    async with running_stack(tmp_path, own_store=True) as stack:
        before, store = await loaded(stack), await stack.points.store_id()
        await stop_damage_start(stack, "points", damage, kill=kill)

        async def is_renewed() -> bool:
            return await stack.points.store_id() != store

        await eventually(is_renewed, _PATIENCE_S)
        assert (await check(stack)).missing > 0
        await send(stack)

        async def is_back() -> bool:
            return await is_whole(stack, before)

        await eventually(is_back, _PATIENCE_S)

        async def is_told() -> bool:
            found = await problem(stack)
            return found is not None and "no point is missing now" in found.text

        await eventually(is_told, _PATIENCE_S)
        await tiers_settled(stack.points)
        rows, wrong = await wrong_tiers(stack.points)
        assert rows
        assert not wrong


@pytest.mark.parametrize("table", ["times", "values", "console", "batches"])
async def test_what_is_no_point_comes_back_too(tmp_path: Path, table: str) -> None:
    async with running_stack(tmp_path, own_store=True) as stack:
        before, store = await loaded(stack), await stack.points.store_id()
        before["batches"] = await count(stack, "batches")
        await stop_damage_start(stack, table, truncated, kill=False)

        async def is_renewed() -> bool:
            return await stack.points.store_id() != store

        await eventually(is_renewed, _PATIENCE_S)
        assert await count(stack, table) < before[table]
        await send(stack)

        async def is_back() -> bool:
            return await is_whole(stack, before)

        await eventually(is_back, _PATIENCE_S)


@pytest.mark.parametrize("table", ["series", "tiers", "dirty", "names", "applied", "meta"])
async def test_what_can_be_made_again_needs_no_client(tmp_path: Path, table: str) -> None:
    async with running_stack(tmp_path, own_store=True) as stack:
        before = await loaded(stack)
        if not await parts(stack, table):
            pytest.skip(f"nothing in {table}")
        series = await ranges(stack)
        await stop_damage_start(stack, table, truncated, kill=False)

        async def is_made_again() -> bool:
            return (await ranges(stack), await is_whole(stack, before)) == (series, True)

        await eventually(is_made_again, _PATIENCE_S)
        if table != "meta":

            async def is_told() -> bool:
                found = await problem(stack)
                return found is not None and table in found.text

            await eventually(is_told, _PATIENCE_S)
        await tiers_settled(stack.points)
        rows, wrong = await wrong_tiers(stack.points)
        assert rows
        assert not wrong
        await send(stack)
        await stack.drained()
        assert await is_whole(stack, before)


async def ranges(stack: Stack) -> list[tuple[int, ...]]:
    """First and last step of each series."""
    found = await stack.points.query(
        "SELECT run, key, lane, min(first_step) AS first, max(last_step) AS last"
        " FROM penstock.series GROUP BY run, key, lane ORDER BY run, key, lane"
    )
    columns = (found[name] for name in ("run", "key", "lane", "first", "last"))
    return [tuple(map(int, row)) for row in zip(*columns, strict=True)]


async def test_what_does_not_come_back_is_counted_on_its_run(tmp_path: Path) -> None:
    async with running_stack(tmp_path, own_store=True) as stack:
        await loaded(stack)
        await stop_damage_start(stack, "points", deleted, kill=False)
        lost = (await check(stack)).missing
        assert lost

        async def counted() -> int:
            total = 0
            for plan in plans(SHAPE):
                url = f"{stack.urls[0]}/v1/runs/local/{PROJECT}/{plan.run_name}"
                async with stack.session.get(url) as reply:
                    info = (await reply.json())["info"]
                total += info.get("disk_damage", {}).get("lost_points", 0)
            return total

        async def is_counted() -> bool:
            return await counted() == lost

        await eventually(is_counted, _PATIENCE_S)
        # Half of it comes again.
        await send(stack, BATCHES // 2 + 1)

        async def is_half() -> bool:
            return await counted() == lost // 2

        await eventually(is_half, _PATIENCE_S)
        assert (await check(stack)).missing == lost // 2


async def test_damage_that_is_met_while_it_runs_costs_only_what_cannot_be_read(
    tmp_path: Path,
) -> None:
    async with running_stack(tmp_path, own_store=True) as stack:
        before = await loaded(stack)
        await stack.points.execute("OPTIMIZE TABLE penstock.points FINAL")
        (part,) = await parts(stack, "points")
        flipped(part)
        store = await stack.points.store_id()
        with suppress(PenstockError):
            await stack.points.query("SELECT sum(v) FROM penstock.points")

        async def is_renewed() -> bool:
            return await stack.points.store_id() != store

        await eventually(is_renewed, _PATIENCE_S)
        missing = (await check(stack)).missing
        assert 0 < missing <= 16_384
        await send(stack)

        async def is_back() -> bool:
            return await is_whole(stack, before)

        await eventually(is_back, _PATIENCE_S)


async def test_a_part_that_was_never_noted_is_missed_too(tmp_path: Path) -> None:
    async with running_stack(tmp_path, own_store=True) as stack:
        await send(stack, 1, BATCHES - 1)
        await stack.drained()
        (worker,) = stack.workers
        stack.workers.clear()

        async def is_noted() -> bool:
            return await stack.points.noted("parts") is not None

        await eventually(is_noted, _PATIENCE_S)
        await worker.kill()
        # A worker that lives too short a time to look again.
        worker = await stack.start_worker()
        stack.workers.clear()
        noted = await stack.points.noted("parts")
        known = set(await parts(stack, "points"))
        await send(stack, BATCHES, BATCHES)
        await stack.drained()
        await worker.kill()
        await stack.points.note("parts", noted or "")
        new = [part for part in await parts(stack, "points") if part not in known]
        store = await stack.points.store_id()
        await stack.store_process.kill()
        for part in new:
            shutil.rmtree(part, ignore_errors=True)
        await stack.store_process.start_again()
        await stack.start_worker()

        async def is_renewed() -> bool:
            return await stack.points.store_id() != store

        await eventually(is_renewed, _PATIENCE_S)
        await send(stack)

        async def is_back() -> bool:
            return (await check(stack)).is_clean

        await eventually(is_back, _PATIENCE_S)


class BusyStore:
    """A store in which, before each statement, something is written and everything merged."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.batches = 2

    async def query(self, sql: str, params: Any = None) -> Any:
        self.batches += 1
        await send(self._stack, self.batches, self.batches)
        await self._stack.drained()
        for table in ("batches", "points", "times", "applied"):
            await self._stack.points.execute(f"OPTIMIZE TABLE penstock.{table} FINAL")
        return await self._stack.points.query(sql, params)


async def test_what_is_written_and_merged_meanwhile_is_not_missed(tmp_path: Path) -> None:
    """A merged part is new and holds old runs: the mender once took all of them for lost."""
    async with running_stack(tmp_path, own_store=True) as stack:
        await send(stack, 1, 2)
        await stack.drained()
        store = BusyStore(stack)
        for since_s in (0, int(time.time())):
            for table in ("points", "times"):
                lost = await find_lost_ends(cast("Any", store), table, since_s)
                assert {name: len(column) for name, column in lost.items()} == dict.fromkeys(
                    ("run", "lane", "seq", "points", "records"), 0
                )
        assert store.batches >= 10
        # It does see what is gone.
        runs = len(plans(SHAPE))
        await stack.points.execute(
            "DELETE FROM penstock.times WHERE seq > 4 SETTINGS lightweight_deletes_sync = 2"
        )
        lost = await find_lost_ends(stack.points, "times", 0)
        assert sorted(np.asarray(lost["seq"]).tolist()) == sorted(
            [*range(5, store.batches + 1)] * runs
        )
        assert len(lost["points"]) == len(lost["seq"])


async def test_a_store_whose_files_vanish_ends_and_is_restarted(tmp_path: Path) -> None:
    async with running_stack(tmp_path, own_store=True) as stack:
        before = await loaded(stack)
        store = await stack.points.store_id()
        for part in await parts(stack, "points"):
            shutil.rmtree(part, ignore_errors=True)
        await stack.points.execute("SYSTEM DROP MARK CACHE")
        with pytest.raises(Transient, match="No such file"):
            await stack.points.query("SELECT sum(v) FROM penstock.points")
        assert await asyncio.wait_for(stack.store_process.process.wait(), 30) == 0
        await stack.store_process.start_again()

        async def is_renewed() -> bool:
            return await stack.points.store_id() != store

        await eventually(is_renewed, _PATIENCE_S)
        await send(stack)

        async def is_back() -> bool:
            return await is_whole(stack, before)

        await eventually(is_back, _PATIENCE_S)
