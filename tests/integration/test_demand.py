"""Commits come when somebody wants them, and every few seconds otherwise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from support.stack import Stack, eventually, running_stack

from penstock.wire import Batch, Frame, encode_batch
from penstock_common.queue import demand
from penstock_common.queue.demand import WATCH_S
from penstock_common.queue.redis_keys import SHARDS, RedisKeys, run_path, shard_of

KEYS = RedisKeys()
REST_S = 5.0
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.smoke,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(60),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("demand"), gateways=2, workers=0) as stack:
        await stack.start_worker(commit_rest_s=REST_S)
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def stack(running: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Nobody reads, nothing is queued, and the worker has just read."""
    monkeypatch.setattr(demand, "_RENEW_S", 0.0)  # gateways remember no read of an earlier test
    await forget_reads(running)
    await running.drained()
    redis = running.redis.client()
    await redis.lpush(KEYS.bell(0), 1)

    async def is_answered() -> bool:
        return not await redis.exists(KEYS.bell(0))

    await eventually(is_answered)
    await redis.aclose()
    return running


async def forget_reads(stack: Stack) -> None:
    redis = stack.redis.client()
    await redis.delete(KEYS.watched())
    await redis.aclose()


def batch(run: str, seq: int, rows: int = 1, **fields: Any) -> bytes:
    steps = np.arange(seq * rows, (seq + 1) * rows)
    frame = Frame(["loss"], steps.tobytes(), (steps + 10**15).tobytes(), (steps / 2).tobytes())
    return encode_batch(
        Batch(project="p", run=run, writer="w", seq=seq, frames=[frame], **fields), compress=True
    )


async def post(stack: Stack, *args: Any, **fields: Any) -> None:
    status, reply = await stack.post(batch(*args, **fields))
    assert status == 202, reply


async def begin(stack: Stack, run: str) -> None:
    """A run whose next batch may wait."""
    began = time.monotonic()
    await post(stack, run, 1)
    await stack.drained(REST_S / 2)  # its first batch does not wait
    assert time.monotonic() - began < REST_S / 2


async def allow(stack: Stack, rule: str) -> None:
    redis = stack.redis.client()
    pipeline = redis.pipeline(transaction=False)
    pipeline.execute_command("ACL", "SETUSER", "default", rule)
    await pipeline.execute()
    await redis.aclose()


async def last_step(stack: Stack, run: str, gateway: int = 0) -> int | None:
    async with stack.session.get(f"{stack.urls[gateway]}/v1/runs/local/p/{run}") as reply:
        assert reply.status == 200
        found: int | None = (await reply.json())["last_step"]
        return found


async def test_batches_gather_while_nobody_reads(stack: Stack) -> None:
    await begin(stack, "gathers")
    commits = await stack.backlog()
    for seq in range(2, 12):
        await post(stack, "gathers", seq)
    await asyncio.sleep(1.0)  # four times as long as workers gather for somebody
    assert await stack.backlog() - commits == 10
    await stack.drained(2 * REST_S)


@pytest.mark.parametrize("gateway", [0, 1])
async def test_a_read_sees_what_was_queued_before_it(stack: Stack, gateway: int) -> None:
    run = f"seen-{gateway}"
    await begin(stack, run)
    await post(stack, run, 2)
    assert await stack.backlog() == 1
    assert await last_step(stack, run, gateway) == 2
    assert await stack.backlog() == 0


async def test_what_comes_while_somebody_reads_is_committed_soon(stack: Stack) -> None:
    await begin(stack, "watched")
    await last_step(stack, "watched")
    for seq in (2, 3, 4):
        began = time.monotonic()
        await post(stack, "watched", seq)
        await stack.drained(REST_S / 2)
        assert time.monotonic() - began < REST_S / 2
    redis = stack.redis.client()
    assert 0 < await redis.ttl(KEYS.watched()) <= WATCH_S
    await redis.aclose()


@pytest.mark.parametrize(
    "record",
    [
        {"t": "state", "state": "finished"},
        {"t": "config", "update": {"lr": 0.1}},
        {"t": "run", "notes": "new"},
        {"t": "alert", "time": 1, "title": "loss is NaN"},
    ],
    ids=lambda record: record["t"],
)
async def test_what_somebody_waits_for_is_committed_at_once(
    stack: Stack, record: dict[str, Any]
) -> None:
    run = f"urgent-{record['t']}"
    await begin(stack, run)
    await post(stack, run, 2, records=[record])
    await stack.drained(REST_S / 2)


async def test_a_caller_who_waits_is_answered_at_once(stack: Stack) -> None:
    await begin(stack, "waits")
    began = time.monotonic()
    status, _ = await stack.post(batch("waits", 2), query={"wait": "committed"})
    assert status == 200
    assert time.monotonic() - began < REST_S / 2
    # So is one who repeats a batch that is queued already.
    await post(stack, "waits", 3)
    began = time.monotonic()
    status, _ = await stack.post(batch("waits", 3), query={"wait": "committed"})
    assert status == 200
    assert time.monotonic() - began < REST_S / 2


async def test_much_data_does_not_gather(stack: Stack) -> None:
    await begin(stack, "much")
    await post(stack, "much", 2, 60_000)  # 1.4 MB once decoded, far less as it is sent
    await stack.drained(REST_S / 2)


async def test_a_gateway_at_rest_still_tells_the_truth(stack: Stack) -> None:
    redis = stack.redis.client()
    await asyncio.sleep(1.5)  # without a request, it asks Redis less often
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    await asyncio.sleep(1.1)  # what it knows may be a second old
    try:
        async with stack.session.get(f"{stack.urls[0]}/readyz") as reply:
            assert reply.status == 503
            assert "maxmemory-policy" in (await reply.json())["queue_problem"]
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.aclose()

    async def is_ready() -> bool:
        async with stack.session.get(f"{stack.urls[0]}/readyz") as reply:
            return reply.status == 200

    await eventually(is_ready)


async def test_a_lost_bell_only_delays(stack: Stack) -> None:
    await begin(stack, "lost")
    await allow(stack, "-lpush")
    try:
        await post(stack, "lost", 2, records=[{"t": "state", "state": "finished"}])
        await stack.drained(2 * REST_S)
    finally:
        await allow(stack, "+lpush")


async def test_a_bell_that_nobody_hears_stays_small(stack: Stack) -> None:
    shard = shard_of(run_path("local", "p", "rings"))
    redis = stack.redis.client()
    for worker in stack.workers:
        await worker.stop()
    try:
        for seq in range(1, 30):
            await post(stack, "rings", seq, records=[{"t": "config", "update": {"n": seq}}])

        async def rings() -> bool:
            return bool(await redis.llen(KEYS.bell(shard)))

        await eventually(rings)
        assert await redis.llen(KEYS.bell(shard)) == 1
        # A read does not wait for workers that are gone, and answers with what there is.
        began = time.monotonic()
        async with stack.session.get(f"{stack.urls[0]}/v1/projects/local/p/runs") as reply:
            assert reply.status == 200
        assert time.monotonic() - began < REST_S
    finally:
        await stack.start_worker(commit_rest_s=REST_S)
        await redis.aclose()
    await stack.drained()
    redis = stack.redis.client()
    assert not await redis.exists(*map(KEYS.bell, range(SHARDS)))
    await redis.aclose()
