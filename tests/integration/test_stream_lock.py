"""Lines of several processes of one run that come to several gateways at once: all are stored, and none is
answered with an error that makes the client give up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from support.stack import Stack, running_stack

from penstock.errors import Transient
from penstock_common.process.metrics import GatewayMetrics
from penstock_common.queue.redis_keys import RedisKeys
from penstock_compat.wandb.stream.stream_lock import StreamLock

PROCESSES = 6
POSTS = 4
LINES = 5


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack"), gateways=2) as running:
        yield running


async def send(stack: Stack, gateway: int, run: str, file: str, offset: int, lines: Any) -> int:
    """How often it had to be sent until it was stored."""
    url = f"{stack.urls[gateway]}/files/local/p/{run}/file_stream"
    content = [json.dumps(line) for line in lines]
    body = {"files": {file: {"offset": offset, "content": content}}}
    for sent in range(1, 100):
        async with stack.session.post(url, json=body) as reply:
            assert reply.status in {200, 503}, await reply.text()
            if reply.status == 200:
                return sent
        await asyncio.sleep(0.02)
    raise AssertionError("never stored")


async def process(stack: Stack, run: str, number: int) -> None:
    """A process that began ten seconds after the one before it; its requests come to all gateways in turn."""
    began = 1_700_000_000 + 10 * number
    for post in range(POSTS):
        step = post * LINES
        lines = [
            {
                "_step": at,
                "_runtime": float(at),
                "_timestamp": float(began + at),
                "loss": 1_000 * number + at,
            }
            for at in range(step, step + LINES)
        ]
        event = {"_runtime": post, "_timestamp": began + post, "system.cpu": float(number)}
        where = number + post
        await send(stack, where % 2, run, "wandb-events.jsonl", post, [event])
        await send(stack, where % 2, run, "wandb-history.jsonl", step, lines)


async def rows(stack: Stack, run: str) -> Iterable[dict[str, Any]]:
    url = f"{stack.urls[0]}/v1/runs/local/p/{run}/history?lanes=all"
    async with stack.session.get(url) as reply:
        return [json.loads(line) for line in (await reply.read()).splitlines()]


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.asyncio(loop_scope="module")
async def test_processes_that_begin_at_once_keep_their_lines(stack: Stack) -> None:
    await asyncio.gather(*(process(stack, "beside", number) for number in range(PROCESSES)))
    losses: dict[int, list[int]] = {}
    for row in await rows(stack, "beside"):
        if "loss" in row:
            losses.setdefault(row["_lane"], []).append(row["loss"])
    steps = range(POSTS * LINES)
    assert sorted(losses.values()) == [
        [1_000 * number + step for step in steps] for number in range(PROCESSES)
    ]


@pytest.mark.asyncio(loop_scope="module")
async def test_lines_wait_for_those_of_another_gateway(stack: Stack) -> None:
    event = {"_runtime": 1.0, "_timestamp": 1_700_000_000.0, "system.cpu": 1.0}
    redis: Redis = Redis.from_url(stack.redis.url)
    key = RedisKeys().stream_lock("local/p/held", "")
    await redis.set(key, "of another gateway", px=60_000)
    waiting = asyncio.create_task(send(stack, 0, "held", "wandb-events.jsonl", 0, [event]))
    assert await send(stack, 0, "free", "wandb-events.jsonl", 0, [event]) == 1
    assert not waiting.done(), "another run's lines do not wait for it, its own do"
    await redis.delete(key)
    assert await waiting == 1
    assert await redis.exists(key) == 0
    await redis.aclose()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_lock_of_a_killed_gateway_expires(stack: Stack) -> None:
    redis: Redis = Redis.from_url(stack.redis.url)
    killed = StreamLock(redis, "lock", GatewayMetrics())
    await killed.acquire()
    assert 0 < await redis.pttl("lock") <= 30_000
    await redis.delete("lock")  # as if that time had passed
    await StreamLock(redis, "lock", GatewayMetrics()).acquire()
    with pytest.raises(Transient):
        await killed.renew()
    await killed.release()
    assert await redis.exists("lock") == 1, "it is another's now"
    await redis.aclose()
