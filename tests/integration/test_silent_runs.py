"""A run whose machine vanished is marked crashed; a heartbeat or data brings it back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from benchmarks.generate import Shape, WriterPlan, batch_bytes
from support.stack import Stack, eventually, running_stack

from penstock_common.keys import Keys, run_path, shard_of
from penstock_storage.interface import RunRef, RunRow

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy, pytest.mark.timeout(90)
]  # fmt: skip

KEYS = Keys()
PROJECT = "silence"
SHAPE = Shape(runs=3, keys=1, rows=5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack"), workers=0) as running:
        yield running


async def state_of(stack: Stack, run: str) -> RunRow:
    row = await stack.catalog.run(RunRef("local", PROJECT, run))
    assert row is not None
    return row


async def becomes(stack: Stack, run: str, state: str) -> None:
    async def has_become() -> bool:
        return (await state_of(stack, run)).state == state

    await eventually(has_become, 30)


async def beat(stack: Stack, run: str, at_s: float) -> None:
    """What a gateway does with a heartbeat."""
    path = run_path("local", PROJECT, run)
    redis = stack.redis.client()
    await redis.hset(KEYS.heartbeats(shard_of(path)), path, str(int(at_s * 1e6)))
    await redis.aclose()


async def test_silence_and_signs_of_life(stack: Stack) -> None:
    worker = await stack.start_worker(silent_after_s=4)
    silent, alive, told = (WriterPlan(number, 0).run_name for number in range(3))
    for number in range(3):
        raw = batch_bytes(SHAPE, WriterPlan(number, 0), 1, project=PROJECT)
        assert (await stack.post(raw))[0] == 202
    await stack.drained()
    # From the future, so that it need not be repeated in time.
    await beat(stack, alive, time.time() + 3600)
    await becomes(stack, silent, "crashed")
    row = await state_of(stack, silent)
    assert row.info["silent"] is True
    assert (await state_of(stack, alive)).state == "running"

    # Data brings it back …
    assert (await stack.post(batch_bytes(SHAPE, WriterPlan(0, 0), 2, project=PROJECT)))[0] == 202
    await becomes(stack, silent, "running")
    assert "silent" not in (await state_of(stack, silent)).info
    # … and so does a heartbeat.
    await becomes(stack, told, "crashed")
    await beat(stack, told, time.time() + 3600)
    await becomes(stack, told, "running")
    assert await worker.stop() == 0


async def test_nothing_is_silent_while_batches_wait(stack: Stack) -> None:
    """Nor while a stopped worker's successor has just begun."""
    plan = WriterPlan(1, 7)
    redis = stack.redis.client()
    await redis.delete(*(KEYS.heartbeats(shard) for shard in range(16)))
    # A batch that nobody can take out of the queue: its shard is another worker's.
    shard = shard_of(run_path("local", PROJECT, plan.run_name))
    await redis.set(KEYS.lease(shard), "somebody:1", px=3_600_000)
    assert (await stack.post(batch_bytes(SHAPE, plan, 1, project=PROJECT)))[0] == 202
    silent = WriterPlan(0, 0).run_name
    await stack.catalog.touch_runs([(await state_of(stack, silent)).number], time.time_ns() // 1000)
    assert (await state_of(stack, silent)).state == "running"
    worker = await stack.start_worker(silent_after_s=1)

    async def looked_twice() -> bool:
        found = await redis.get(KEYS.clock())
        looks.add(found)
        return len(looks) > 3

    looks: set[object] = set()
    await eventually(looked_twice, 30)
    assert (await state_of(stack, silent)).state == "running"
    await redis.delete(KEYS.lease(shard))
    await redis.aclose()
    await becomes(stack, silent, "crashed")
    assert await worker.stop() == 0
