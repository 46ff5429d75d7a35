"""G8: a writer whose batches keep failing is parked, alone, and comes back by itself after the fix. If
everything fails, the worker is at fault, and nothing is set aside."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from benchmarks import ledger
from benchmarks.generate import Shape, WriterPlan, batch_bytes, plans
from support.letters import dead, dead_seqs, letters, poison
from support.stack import Stack, eventually, running_stack
from support.workers import kept_worker, metrics_of

from penstock.wire import Batch, encode_batch
from penstock_common.queue.redis_keys import SHARDS, RedisKeys, run_path, shard_of, writer_key
from penstock_storage.contracts.interface import RunRef
from penstock_workers.main import AT_FAULT

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy, pytest.mark.timeout(180)
]  # fmt: skip

KEYS = RedisKeys()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack"), workers=0) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def new_queue(stack: Stack) -> None:
    redis = stack.redis.client()
    await redis.flushall()
    await redis.aclose()


def neighbours(shape: Shape, project: str) -> tuple[WriterPlan, WriterPlan]:
    """Two writers of one shard."""
    by_shard: dict[int, WriterPlan] = {}
    for plan in plans(shape):
        shard = shard_of(run_path("local", project, plan.run_name))
        if shard in by_shard:
            return by_shard[shard], plan
        by_shard[shard] = plan
    raise AssertionError("no two runs share a shard")


async def send(stack: Stack, shape: Shape, project: str, plan: WriterPlan, *seqs: int) -> None:
    raws = [batch_bytes(shape, plan, seq, project=project) for seq in seqs]
    status, reply = await stack.post(*raws)
    assert status == 202, reply


async def is_stored(
    stack: Stack, shape: Shape, project: str, plan: WriterPlan, batches: int
) -> bool:
    sent = {plan: batches}
    try:
        found = await ledger.check(stack.store.url, stack.store.token, shape, sent, project)
    except KeyError:  # a run that is not known yet
        return False
    return not (found.missing or found.altered or found.duplicate)


def in_catalog(stack: Stack, statement: str) -> None:
    """As an operator changes a database under its programs."""
    path = stack.settings["catalog_url"].removeprefix("sqlite+aiosqlite:///")
    with closing(sqlite3.connect(path, timeout=30)) as catalog, catalog:
        catalog.execute(statement)


async def parked(stack: Stack) -> int:
    redis = stack.redis.client()
    try:
        return sum([await redis.xlen(KEYS.parked(shard)) for shard in range(SHARDS)])
    finally:
        await redis.aclose()


async def test_a_neighbour_on_the_same_shard_is_stored_promptly_and_the_rest_comes_back(
    stack: Stack, faults: Path
) -> None:
    shape, project = Shape(runs=40, keys=3, rows=10, awkward=False), "neighbours"
    bad, good = neighbours(shape, project)
    poisoned = poison(faults, f"error no good for {bad.run_name}")
    await send(stack, shape, project, bad, *range(1, 31))
    await send(stack, shape, project, good, *range(1, 11))
    socket = faults / "metrics"
    started = time.monotonic()
    worker = await stack.start_worker(failpoints=faults, metrics_socket=socket)

    async def good_is_stored() -> bool:
        return await is_stored(stack, shape, project, good, 10)

    await eventually(good_is_stored, 30)
    promptly_s = time.monotonic() - started

    async def is_parked() -> bool:
        return await parked(stack) == 27

    await eventually(is_parked, 60)
    assert promptly_s < time.monotonic() - started
    assert await letters(stack) == 3
    # What it sends now is parked at once, a repeat is known, and its neighbour goes on.
    await send(stack, shape, project, bad, 31)
    await send(stack, shape, project, bad, 31, 30)
    assert await parked(stack) == 28
    await send(stack, shape, project, good, 11)
    await stack.drained()
    writer = writer_key(run_path("local", project, bad.run_name), bad.name)
    listed = await dead(stack, "list")
    (line,) = [line for line in listed if "parked since" in line]
    assert line.startswith(writer)
    assert "28 batches" in line
    assert "OSError: no good" in line
    assert "batches   28" in await dead(stack, "show", writer)

    # Started again before the fix, it tries one batch, once.
    assert await worker.stop() == 0
    worker = await stack.start_worker(failpoints=faults, metrics_socket=socket)
    await send(stack, shape, project, good, 12)

    async def has_tried() -> bool:
        found = await metrics_of(socket)
        return found.get(("penstock_worker_errors_total", "batch"), 0) >= 1

    await eventually(has_tried, 30)
    await stack.drained()
    assert await parked(stack) == 28
    assert await letters(stack) == 3
    assert (await metrics_of(socket))["penstock_worker_errors_total", "batch"] == 1
    assert await worker.stop() == 0

    # After the fix it comes back by itself when a worker starts; letters by command.
    poisoned.unlink()
    worker = await stack.start_worker()

    async def is_back() -> bool:
        return await parked(stack) == 0

    await eventually(is_back, 30)
    await dead(stack, "replay", "--all")
    await stack.drained()
    assert await is_stored(stack, shape, project, bad, 31)
    assert await is_stored(stack, shape, project, good, 12)
    assert await dead(stack, "list") == ["No dead letters or parked writers."]
    assert await dead_seqs(stack) == {}
    assert await worker.stop() == 0


async def test_a_parked_writer_is_replayed_or_dropped_by_command(
    stack: Stack, faults: Path
) -> None:
    shape, project = Shape(runs=2, keys=3, rows=10, awkward=False), "commands"
    first, second = plans(shape)
    poisoned = poison(faults, "error no good for run00000", "error no good for run00001")
    for plan in (first, second):
        await send(stack, shape, project, plan, *range(1, 9))
    worker = await stack.start_worker(failpoints=faults)

    async def are_parked() -> bool:
        return await parked(stack) == 10

    await eventually(are_parked, 60)
    poisoned.unlink()
    writers = [
        writer_key(run_path("local", project, plan.run_name), plan.name) for plan in (first, second)
    ]
    assert await dead(stack, "replay", writers[0]) == ["5 are in the queue again."]
    await dead(stack, "drop", writers[1])
    await stack.drained()
    assert await parked(stack) == 0
    assert len(await dead(stack, "list")) == 6
    marks = await dead_seqs(stack)
    assert marks[writers[1]] == "1,2,3,4,5,6,7,8"
    # Nobody waits for what was dropped.
    url = f"{stack.urls[0]}/v1/writers/-/{project}/run00001/{second.name}"
    async with stack.session.get(url) as reply:
        mark = await reply.json()
    assert (mark["committed"], mark["dead"]) == (8, list(range(1, 9)))
    await send(stack, shape, project, second, 9)
    await stack.drained()
    row = await stack.catalog.run(RunRef("local", project, "run00001"))
    assert row is not None
    found = await stack.points.query(
        "SELECT low, dead FROM penstock.applied FINAL WHERE run = {run:UInt32}", {"run": row.number}
    )
    assert int(found["low"][0]) == 9
    assert list(found["dead"][0]) == list(range(1, 9))
    assert await worker.stop() == 0


async def test_a_full_parked_stream_refuses_that_writer_alone(stack: Stack) -> None:
    shape, project = Shape(runs=2, keys=3, rows=10), "full"
    bad, good = plans(shape)
    shard = shard_of(run_path("local", project, bad.run_name))
    writer = writer_key(run_path("local", project, bad.run_name), bad.name)
    redis = stack.redis.client()
    await redis.hset(KEYS.parked_bytes(shard), mapping={writer: 64 * 2**20, "": 64 * 2**20})
    await redis.aclose()
    status, reply = await stack.post(batch_bytes(shape, bad, 1, project=project))
    assert (status, reply["error"]["code"]) == (503, "parked")
    await send(stack, shape, project, good, 1)


async def test_a_bad_release_sets_nothing_aside_and_is_clean_after_the_fix(
    stack: Stack, faults: Path
) -> None:
    shape, project = Shape(runs=5, keys=3, rows=10, awkward=False), "release"
    poisoned = poison(faults, *(f"error bad release for run0000{run}" for run in range(5)))
    for plan in plans(shape):
        await send(stack, shape, project, plan, *range(1, 5))
    async with kept_worker(stack, failpoints=faults) as kept:

        async def has_ended() -> bool:
            return len(kept.codes) >= 2

        await eventually(has_ended, 120)
        assert set(kept.codes) == {AT_FAULT}
        assert await dead(stack, "list") == ["No dead letters or parked writers."]
        assert await stack.backlog() == 20
        poisoned.unlink()
        await stack.drained(60)
        for plan in plans(shape):
            assert await is_stored(stack, shape, project, plan, 4)
        assert await dead(stack, "list") == ["No dead letters or parked writers."]


async def test_poison_of_one_tenant_in_many_runs_is_that_tenants_alone(
    stack: Stack, faults: Path
) -> None:
    shape, project = Shape(runs=8, keys=3, rows=10, awkward=False), "tenants"
    *bad, good = plans(shape)
    poison(faults, *(f"error no good for {plan.run_name}" for plan in bad))
    for plan in bad:
        await send(stack, shape, project, plan, *range(1, 7))
    worker = await stack.start_worker(failpoints=faults)
    sent = 0

    async def are_parked() -> bool:
        nonlocal sent
        sent += 1
        await send(stack, shape, project, good, sent)
        await asyncio.sleep(0.2)
        return await parked(stack) == 3 * len(bad)

    await eventually(are_parked, 150)
    await stack.drained()
    assert worker.process.returncode is None
    assert await letters(stack) == 3 * len(bad)
    assert await is_stored(stack, shape, project, good, sent)
    assert await worker.stop() == 0


async def test_a_queue_that_an_earlier_release_stopped_flows_by_itself(stack: Stack) -> None:
    """Twenty dead letters in a row, counted tries, and entries that nobody measured."""
    shape, project = Shape(runs=1, keys=3, rows=10, awkward=False), "stopped"
    (plan,) = plans(shape)
    path = run_path("local", project, plan.run_name)
    shard, writer = shard_of(path), writer_key(path, plan.name)
    redis = stack.redis.client()
    numbers = range(1, 21)
    for seq in range(1, 31):
        raw = batch_bytes(shape, plan, seq, project=project)
        fields: Any = {"w": writer, "s": str(seq), "b": raw, "t": "5"}
        if seq in numbers:
            reason = {"reason": "ValueError: no good"} | ({"r": "1"} if seq == 3 else {})
            await redis.xadd(KEYS.dead(shard), fields | reason)
            await redis.lpush(f"penstock:{{s{shard}}}:dead-at", str(seq))
        else:
            entry = await redis.xadd(KEYS.stream(shard), fields)
            await redis.hset(KEYS.pending(shard), f"{seq}/{writer}", entry)
            await redis.hset(KEYS.failures(shard), entry, "5" if seq == 21 else "1")
    await redis.set(f"penstock:{{s{shard}}}:settled", "20")
    dead_text = ",".join(map(str, numbers))
    await redis.hset(KEYS.dead_seqs(shard), writer, dead_text)
    worker = await stack.start_worker()
    await stack.drained(60)
    assert await redis.hget(KEYS.committed(shard), writer) == b"30"
    assert await redis.hget(KEYS.dead_seqs(shard), writer) == dead_text.encode()
    assert await dead(stack, "replay", "--all") == ["20 are in the queue again."]
    await stack.drained()
    assert await is_stored(stack, shape, project, plan, 30)
    assert await dead_seqs(stack) == {}
    assert not await redis.exists(*KEYS.obsolete(shard), KEYS.failures(shard))
    await redis.aclose()
    assert await worker.stop() == 0


async def test_setting_aside_makes_nothing_and_cannot_fail(stack: Stack) -> None:
    """A catalog that gives a run no lane: 65,537 writers of one run, say."""
    project = "lanes"
    shape = Shape(runs=2, keys=3, rows=10, awkward=False)
    refused, good = plans(shape)
    raw = encode_batch(Batch(project, refused.run_name, "x", 1, writer_started=7, rank=3))
    in_catalog(
        stack,
        "CREATE TRIGGER no_lane BEFORE INSERT ON lanes WHEN NEW.writer = 'x'"
        " BEGIN SELECT RAISE(ABORT, 'no lane left'); END",
    )
    status, _ = await stack.post(raw)
    assert status == 202
    await send(stack, shape, project, good, 1)
    worker = await stack.start_worker()
    try:
        await stack.drained(60)
    finally:
        in_catalog(stack, "DROP TRIGGER no_lane")
    assert await is_stored(stack, shape, project, good, 1)
    writer = writer_key(run_path("local", project, refused.run_name), "x")
    assert await dead_seqs(stack) == {writer: "1"}
    url = f"{stack.urls[0]}/v1/writers/-/{project}/{refused.run_name}/x"
    async with stack.session.get(url) as reply:
        mark = await reply.json()
    assert (mark["committed"], mark["dead"]) == (1, [1])
    # A repeat is known. The first good batch brings its lane, with its own rank and start.
    assert (await stack.post(raw))[0] == 202
    assert await stack.backlog() == 0
    good_raw = encode_batch(Batch(project, refused.run_name, "x", 2, writer_started=7, rank=3))
    assert (await stack.post(good_raw))[0] == 202
    await stack.drained()
    found = await stack.points.query(
        "SELECT low, dead FROM penstock.applied FINAL WHERE writer = 'x' AND length(dead) > 0"
    )
    assert [int(low) for low in found["low"]] == [2]
    names = await stack.points.query("SELECT name FROM penstock.names WHERE kind = 'lane'")
    assert any("x" in str(name) and "3" in str(name) for name in names["name"])
    assert await worker.stop() == 0
