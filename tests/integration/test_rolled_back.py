"""A store or catalog that was replaced by an older copy of itself is noticed, and clients that send
again what they hold bring all of it back."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from benchmarks import ledger
from benchmarks.generate import Shape, batch_bytes, plans
from support.stack import Stack, eventually, running_stack

from penstock.wire import Batch, encode_batch
from penstock_common.queue.redis_keys import RedisKeys, run_path, shard_of, writer_key
from penstock_storage.connect import open_catalog
from penstock_storage.contracts.interface import RunRef

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120)]

KEYS = RedisKeys()
PROJECT = "older"
SHAPE = Shape(runs=5, keys=3, rows=20)
EARLY, ALL = 4, 10  # batches of each of the five writers; 30 in all come after the copy


async def send(stack: Stack, first: int, last: int) -> None:
    for plan in plans(SHAPE):
        raws = [batch_bytes(SHAPE, plan, seq, project=PROJECT) for seq in range(first, last + 1)]
        status, reply = await stack.post(*raws)
        assert status == 202, reply


async def clock_of(stack: Stack) -> int:
    redis = stack.redis.client()
    try:
        return int(await redis.get(KEYS.clock()) or 0)
    finally:
        await redis.aclose()


async def clock_moved(stack: Stack, since: int) -> int:
    """Wait for the next turn of the clock."""

    async def has_moved() -> bool:
        return await clock_of(stack) > since

    await eventually(has_moved, 20)
    return await clock_of(stack)


async def published(stack: Stack) -> str:
    redis = stack.redis.client()
    try:
        found: Any = await redis.get(KEYS.store())
        return (found or b"").decode()
    finally:
        await redis.aclose()


async def committed(stack: Stack) -> dict[str, int]:
    redis = stack.redis.client()
    try:
        found: dict[str, int] = {}
        for shard in range(16):
            marks: Any = await redis.hgetall(KEYS.committed(shard))
            found |= {writer.decode(): int(mark) for writer, mark in marks.items()}
        return found
    finally:
        await redis.aclose()


async def check(stack: Stack) -> ledger.Ledger:
    sent = dict.fromkeys(plans(SHAPE), ALL)
    return await ledger.check(stack.store.url, stack.store.token, SHAPE, sent, PROJECT)


@pytest.mark.parametrize("worker_lives", [True, False], ids=["live worker", "new worker"])
async def test_an_older_store_gets_a_new_id_and_all_comes_back(
    tmp_path: Path, worker_lives: bool
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    async with running_stack(tmp_path, own_store=True) as stack:
        (worker,) = stack.workers
        await send(stack, 1, EARLY)
        await stack.drained()
        before = await stack.points.store_id()
        first = await clock_moved(stack, 0)
        await stack.store_process.stop()
        shutil.copytree(data, copy, symlinks=True)
        await stack.store_process.start_again()
        await send(stack, EARLY + 1, ALL)
        await stack.drained()
        await clock_moved(stack, first)
        assert (await check(stack)).is_clean
        assert await published(stack) == before

        if not worker_lives:
            assert await worker.stop() == 0
        await stack.store_process.stop()
        shutil.rmtree(data)
        copy.rename(data)
        await stack.store_process.start_again()
        assert (await check(stack)).missing > 0
        if not worker_lives:
            await stack.start_worker()

        async def is_renewed() -> bool:
            return await published(stack) not in ("", before)

        await eventually(is_renewed, 30)
        assert await stack.points.store_id() == await published(stack)
        assert await committed(stack) == {}
        redis = stack.redis.client()
        assert not await redis.exists(*(KEYS.digests(shard) for shard in range(16)))
        await redis.aclose()

        # What was said before the store was known to be another must not have been said for it.
        await send(stack, 1, ALL)
        await stack.drained()
        found = await check(stack)
        assert found.is_clean, str(found)
        assert set((await committed(stack)).values()) == {ALL}
        # Found once: the clocks agree again.
        renewed = await published(stack)
        await clock_moved(stack, await clock_of(stack))
        assert await published(stack) == renewed


async def test_later_batches_do_not_hide_what_the_copy_lacks(tmp_path: Path) -> None:
    """An idle worker, a store replaced under it, and at once the next batch."""
    data, copy = tmp_path / "data", tmp_path / "copy"
    async with running_stack(tmp_path, own_store=True) as stack:
        await send(stack, 1, EARLY)
        await stack.drained()
        first = await clock_moved(stack, 0)
        await stack.store_process.stop()
        shutil.copytree(data, copy, symlinks=True)
        await stack.store_process.start_again()
        await send(stack, EARLY + 1, ALL - 1)
        await stack.drained()
        await clock_moved(stack, first)
        await stack.store_process.stop()
        shutil.rmtree(data)
        copy.rename(data)
        # Queued while the store is away: the worker takes it as soon as it answers.
        await send(stack, ALL, ALL)
        await stack.store_process.start_again()
        await stack.drained()
        assert (await check(stack)).missing > 0
        assert set((await committed(stack)).values()) == {EARLY}
        await send(stack, EARLY + 1, ALL)
        await stack.drained()
        found = await check(stack)
        assert found.is_clean, str(found)


def record(run: str, seq: int, **fields: Any) -> bytes:
    return encode_batch(
        Batch(
            project=PROJECT, run=run, writer="w", seq=seq, writer_started=1_000, rank=0, acked=0,
            frames=[], records=[fields],
        )
    )  # fmt: skip


def values(run: str, seq: int, key: str) -> bytes:
    value = {"t": "value", "key": key, "step": seq, "time": 1, "kind": "string", "json": '"x"'}
    return record(run, seq, **value)


async def test_an_older_catalog_learns_again_what_it_knew(tmp_path: Path) -> None:
    catalog, copy = tmp_path / "catalog.db", tmp_path / "copy.db"
    ref, late = RunRef("local", PROJECT, "kept"), RunRef("local", PROJECT, "late")
    batches = [
        record("kept", 1, t="config", update={"lr": 0.1}),
        values("kept", 2, "early"),
        record("kept", 3, t="config", update={"lr": 0.2, "deep": {"x": 1}}),
        record("kept", 4, t="summary", update={"best": 7}),
        values("late", 1, "fresh"),
        record("late", 2, t="run", name="a name", tags=["t"]),
        record("kept", 5, t="state", state="failed", exit_code=3),
    ]

    async def rows() -> list[Any]:
        opened = open_catalog(stack.settings["catalog_url"])
        try:
            found = [await opened.run(each) for each in (ref, late)]
            keys = await opened.keys(found[0].project_number) if found[0] else {}
            return [
                (row.number, row.config, row.summary, row.state, row.name, row.tags, row.info)
                for row in found
                if row is not None
            ] + [keys]
        finally:
            await opened.close()

    async with running_stack(tmp_path, own_store=True) as stack:
        for raw in batches[:2]:
            assert (await stack.post(raw))[0] == 202
        await stack.drained()
        first = await clock_moved(stack, 0)
        await stack.workers[0].stop()
        with closing(sqlite3.connect(catalog)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        await stack.start_worker()
        for raw in batches[2:]:
            assert (await stack.post(raw))[0] == 202
        await stack.drained()
        await clock_moved(stack, first)
        before, known = await published(stack), await rows()
        assert len(known) == 3
        await stack.workers[1].stop()
        await stack.catalog.close()
        for suffix in ("-wal", "-shm"):
            Path(f"{catalog}{suffix}").unlink(missing_ok=True)
        copy.rename(catalog)
        assert len(await rows()) < 3

        await stack.start_worker()

        async def is_renewed() -> bool:
            return await published(stack) not in ("", before)

        await eventually(is_renewed, 30)
        # Numbers came back from the store before anything was sent, under the same names.
        again = await rows()
        assert [row[0] for row in again[:2]] == [row[0] for row in known[:2]]
        assert again[2] == known[2]
        for raw in batches:
            assert (await stack.post(raw))[0] == 202
        await stack.drained()
        assert await rows() == known
        assert (await stack.post(values("late", 3, "newest")))[0] == 202
        await stack.drained()
        keys = (await rows())[2]
        assert keys["newest"] not in known[2].values()


async def test_marks_name_what_the_worker_of_another_store_said(tmp_path: Path) -> None:
    """A queue that served another store: what it calls committed is forgotten at once."""
    plan = plans(SHAPE)[0]
    async with running_stack(tmp_path, own_store=True, workers=0) as stack:
        redis = stack.redis.client()
        path = run_path("local", PROJECT, plan.run_name)
        await redis.set(KEYS.store(), "another")
        await redis.hset(KEYS.committed(shard_of(path)), writer_key(path, plan.name), "7")
        await redis.aclose()
        await stack.start_worker()

        async def is_known() -> bool:
            return await published(stack) == await stack.points.store_id()

        await eventually(is_known)
        assert await committed(stack) == {}
        assert (await stack.post(batch_bytes(SHAPE, plan, 1, project=PROJECT)))[0] == 202
        await stack.drained()
        await asyncio.wait_for(eventually(is_known), 10)
        assert list((await committed(stack)).values()) == [1]
