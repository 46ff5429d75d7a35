"""A queue that is away, full, read-only, loading or frozen: 503 at once with Retry-After, nothing piles
up, and batches flow again by themselves."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from support.redis import RedisHandle
from support.stack import Stack, eventually, running_stack

from penstock.wire import CONTENT_TYPE, Batch, encode_batch, join_batches
from penstock_common.queue.redis_keys import RedisKeys

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

MANY = 200
NUMBERS = itertools.count(10)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("queue"), workers=0) as running:
        yield running


def body(seq: int) -> bytes:
    return join_batches([encode_batch(Batch(project="queue", run="r", writer="w", seq=seq))])


async def send(stack: Stack, seq: int) -> tuple[int, str, str]:
    """(status, error code, Retry-After) of one batch."""
    url, headers = f"{stack.urls[0]}/v1/batches", {"Content-Type": CONTENT_TYPE}
    async with stack.session.post(url, data=body(seq), headers=headers) as reply:
        answer = await reply.json()
        code = answer["error"]["code"] if reply.status >= 400 else ""
        return reply.status, code, reply.headers.get("Retry-After", "")


def stream_of(shard: int) -> str:
    return RedisKeys().stream(shard)


async def is_taken(stack: Stack) -> bool:
    return (await send(stack, 1))[0] == 202


@asynccontextmanager
async def client_of(redis: RedisHandle) -> AsyncIterator[Redis]:
    client = redis.client()
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def killed(redis: RedisHandle) -> AsyncIterator[None]:
    await redis.stop(signal.SIGKILL)
    yield
    await redis.start()


@asynccontextmanager
async def frozen(redis: RedisHandle) -> AsyncIterator[None]:
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis.pid, signal.SIGCONT)


@asynccontextmanager
async def out_of_memory(redis: RedisHandle) -> AsyncIterator[None]:
    async with client_of(redis) as client:
        await client.config_set("maxmemory", 1_000)
        try:
            yield
        finally:
            await client.config_set("maxmemory", 2**30)


@asynccontextmanager
async def read_only(redis: RedisHandle) -> AsyncIterator[None]:
    """As after a failover: this one is a replica now."""
    async with client_of(redis) as client:
        await client.replicaof("127.0.0.1", "1")
        try:
            yield
        finally:
            await client.replicaof("NO", "ONE")


@asynccontextmanager
async def unable_to_save(redis: RedisHandle) -> AsyncIterator[None]:
    """Its last snapshot failed, because a folder is where the file should go."""
    obstacle = redis.folder / "dump.rdb"
    async with client_of(redis) as client:
        obstacle.mkdir()
        await client.config_set("save", "3600 1000000")
        await client.bgsave()

        async def has_failed() -> bool:
            return bool((await client.info("persistence"))["rdb_last_bgsave_status"] == "err")

        await eventually(has_failed)
        try:
            yield
        finally:
            await client.config_set("save", "")
            obstacle.rmdir()


@asynccontextmanager
async def loading(redis: RedisHandle) -> AsyncIterator[None]:
    """Started again and still reading what it had: a little slower than it would."""
    async with client_of(redis) as client:
        await client.mset({f"filler{number}": os.urandom(12_000) for number in range(8_000)})
        # Only what is loaded as a snapshot can be slowed down.
        await client.config_set("aof-use-rdb-preamble", "yes")
        await client.bgrewriteaof()

        async def is_rewritten() -> bool:
            info = await client.info("persistence")
            return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]

        await eventually(is_rewritten)
    await redis.stop()
    config = redis.folder / "redis.conf"
    usual = config.read_text()
    # It needs 6 s (750 µs for each key), and answers after every 2 MiB.
    config.write_text(f"{usual}key-load-delay 750\n")
    started = asyncio.create_task(redis.start())
    try:
        async with client_of(redis) as client:

            async def is_loading() -> bool:
                try:
                    return bool((await client.info("persistence"))["loading"])
                except Exception:
                    return False

            await eventually(is_loading)
        yield
    finally:
        await started
        config.write_text(usual)
        async with client_of(redis) as client:
            await client.delete(*(f"filler{number}" for number in range(8_000)))


Fault = Callable[[RedisHandle], AbstractAsyncContextManager[None]]


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        (killed, {"queue_connection"}),
        (frozen, {"queue_timeout"}),
        (out_of_memory, {"queue_oom", "overloaded"}),
        (read_only, {"queue_readonly"}),
        (unable_to_save, {"queue_misconf"}),
        # One that starts on a busy machine may not answer at all in time.
        (loading, {"queue_loading", "queue_connection", "queue_timeout"}),
    ],
)
async def test_batches_are_refused_at_once_and_flow_again(
    stack: Stack, fault: Fault, codes: set[str]
) -> None:
    await eventually(lambda: is_taken(stack))
    await asyncio.gather(*(send(stack, next(NUMBERS)) for _ in range(MANY)))  # all connected
    before = len(asyncio.all_tasks())
    async with fault(stack.redis):
        for _ in range(2):
            async with asyncio.timeout(10):
                # New numbers: a repeat writes nothing, and is answered even by a full Redis.
                answers = await asyncio.gather(*(send(stack, next(NUMBERS)) for _ in range(MANY)))
            assert {status for status, _, _ in answers} == {503}
            assert {code for _, code, _ in answers} <= codes
            waits = {int(wait) for _, _, wait in answers}
            assert waits == {1, 2}
        assert len(asyncio.all_tasks()) <= before + 2
    await eventually(lambda: is_taken(stack))


async def test_while_redis_is_frozen_nobody_waits_for_those_before(stack: Stack) -> None:
    """Requests that come one after another are each answered after one timeout, not after a queue of
    timeouts; and the process goes on answering what needs no queue."""
    await eventually(lambda: is_taken(stack))
    loop = asyncio.get_running_loop()
    taken: list[float] = []

    async def one(seq: int) -> None:
        started = loop.time()
        assert (await send(stack, seq))[0] == 503
        taken.append(loop.time() - started)

    async with frozen(stack.redis), asyncio.TaskGroup() as tasks:
        for _ in range(60):
            tasks.create_task(one(next(NUMBERS)))
            await asyncio.sleep(0.05)
            async with stack.session.get(f"{stack.urls[0]}/healthz") as reply:
                assert reply.status == 200
    # A second each; three times that would be the sum of a few.
    assert max(taken) < 3.0
    await eventually(lambda: is_taken(stack))


async def test_a_request_that_timed_out_and_had_happened_is_a_repeat(stack: Stack) -> None:
    await eventually(lambda: is_taken(stack))
    async with frozen(stack.redis):
        assert (await send(stack, 900_000))[1] == "queue_timeout"
    await eventually(lambda: is_taken(stack))
    assert (await send(stack, 900_000))[0] == 202
    async with client_of(stack.redis) as client:
        entries: list[Any] = []
        for shard in range(16):
            entries += await client.xrange(stream_of(shard)) or []
    found = [fields for _, fields in entries if fields[b"s"] == b"900000"]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("setting", "wrong", "right", "word"),
    [
        ("maxmemory-policy", "allkeys-lru", "noeviction", "allkeys-lru"),
        ("maxmemory", "0", "1073741824", "maxmemory is 0"),
        ("appendonly", "no", "yes", "appendonly"),
    ],
)
async def test_a_queue_that_may_forget_is_not_used(
    stack: Stack, setting: str, wrong: str, right: str, word: str
) -> None:
    async def ready() -> tuple[int, str]:
        async with stack.session.get(f"{stack.urls[0]}/readyz") as reply:
            answer = await reply.json()
            assert answer["volatile_queue"] is False
            return reply.status, answer["queue_problem"]

    async def is_unready() -> bool:
        return (await ready())[0] == 503

    async def is_ready() -> bool:
        return await ready() == (200, "")

    await eventually(is_ready)
    async with client_of(stack.redis) as client:
        await client.config_set(setting, wrong)
        try:
            await eventually(is_unready)
            assert word in (await ready())[1]
            status, code, wait = await send(stack, 1)
            assert (status, code) == (503, "queue_unsafe")
            assert wait
        finally:
            await client.config_set(setting, right)
    await eventually(is_ready)
    await eventually(lambda: is_taken(stack))


async def test_an_operator_may_take_it_upon_himself(tmp_path: Path) -> None:
    async with running_stack(tmp_path, workers=0, volatile_queue=True) as stack:
        async with client_of(stack.redis) as client:
            await client.config_set("appendonly", "no")

        async def is_told() -> bool:
            async with stack.session.get(f"{stack.urls[0]}/readyz") as reply:
                answer = await reply.json()
                assert (reply.status, answer["volatile_queue"]) == (200, True)
                return "appendonly" in answer["queue_problem"]

        await eventually(is_told)
        assert await is_taken(stack)


async def test_one_full_shard_leaves_the_others_alone(tmp_path: Path) -> None:
    async with running_stack(tmp_path, workers=0, backlog_bytes=2**25) as stack:
        url, headers = f"{stack.urls[0]}/v1/batches", {"Content-Type": CONTENT_TYPE}

        async def post(run: str, seq: int) -> tuple[int, dict[str, object]]:
            note = {"t": "run", "notes": os.urandom(50_000).hex()}
            batch = Batch(project="full", run=run, writer="w", seq=seq, records=[note])
            raw = join_batches([encode_batch(batch)])
            async with stack.session.post(url, data=raw, headers=headers) as reply:
                return reply.status, await reply.json()

        numbers = itertools.count(1)

        async def is_full() -> bool:
            return (await post("greedy", next(numbers)))[0] == 503

        await eventually(is_full, 20)
        status, answer = await post("greedy", next(numbers))
        assert status == 503
        assert "part of the queue" in str(answer)

        async def are_others_slowed() -> bool:
            status, answer = await post("another", next(numbers))
            assert status == 202
            return answer["interval_s"] == 10.0

        await eventually(are_others_slowed)
        async with client_of(stack.redis) as client:
            for shard in range(16):
                await client.delete(stream_of(shard))

        async def is_free() -> bool:
            return (await post("greedy", next(numbers)))[0] == 202

        await eventually(is_free)


async def test_a_project_over_its_quota_waits_and_others_do_not(tmp_path: Path) -> None:
    async with running_stack(tmp_path, workers=0, project_points_per_s=10.0) as stack:
        url = f"{stack.urls[0]}/v1/batches"

        async def post(project: str, rows: int, seq: int) -> aiohttp.ClientResponse:
            batch = {
                "project": project,
                "run": "r",
                "rows": [{"step": seq * 1_000 + row, "a": row} for row in range(rows)],
            }
            return await stack.session.post(url, json=batch)

        assert (await post("noisy", 500, 1)).status == 202
        reply = await post("noisy", 1, 2)
        answer = await reply.json()
        assert (reply.status, answer["error"]["code"]) == (429, "quota")
        assert 35 <= int(reply.headers["Retry-After"]) <= 45
        assert (await post("quiet", 50, 1)).status == 202
        async with stack.session.get(f"{stack.urls[0]}/metrics") as page:
            assert 'penstock_ingest_batches_total{outcome="quota"} 1.0' in await page.text()
