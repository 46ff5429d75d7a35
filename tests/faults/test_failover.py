"""Row R6: another Redis answers under the same address: a replica that lacks the last entries, one
that is read-only, one that still loads."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from redis.exceptions import RedisError
from support.faultload import FaultLoad, fault_load
from support.links import LinkedStack, linked_stack
from support.proxy import running_proxy
from support.redis import RedisHandle, follow, populate, running_redis
from support.stack import eventually

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(150),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def linked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LinkedStack]:
    async with linked_stack(tmp_path_factory.mktemp("stack")) as linked:
        yield linked


def load_on(
    linked: LinkedStack, folder: Path, *, stalled_s: float = 900.0
) -> AbstractAsyncContextManager[FaultLoad]:
    stack = linked.stack
    url, store = linked.client.url, stack.store
    return fault_load(url, stack.api_key, store.url, store.token, folder, stalled_s=stalled_s)


async def judge(load: FaultLoad, row: Callable[[str], None]) -> None:
    found = await load.settle()
    row(load.report)
    assert found.is_clean, str(found)
    assert found.points > 10_000


@asynccontextmanager
async def replica_of(redis: RedisHandle, folder: Path) -> AsyncIterator[RedisHandle]:
    """A second Redis that follows the first, until the end of the block or `REPLICAOF NO ONE`."""
    folder.mkdir()
    async with (
        running_proxy(redis.url) as link,
        running_redis(folder) as replica,
        replica.client() as client,
    ):
        await follow(client, link.port)

        async def follows() -> bool:
            info = await client.info("replication")
            return bool(info["master_link_status"] == "up")

        await eventually(follows, 30)
        yield replica


def use(linked: LinkedStack, redis: RedisHandle) -> None:
    """From now on the address leads to this Redis."""
    for proxy in (linked.queue, linked.jobs):
        proxy.target = redis.url
        proxy.well()
        proxy.reset_all()


async def test_replica_without_the_last_entries(
    linked: LinkedStack, tmp_path: Path, row: Callable[[str], None]
) -> None:
    """R6: a replica that lacks the last entries takes over; clients send them again at once."""
    first = linked.stack.redis
    async with (
        load_on(linked, tmp_path) as load,
        replica_of(first, tmp_path / "replica") as replica,
    ):
        await load.flowing()
        async with replica.client() as client:
            (worker,) = linked.stack.workers
            os.kill(worker.process.pid, signal.SIGSTOP)  # what is lost is not yet in the store
            await follow(client, None)
        await eventually(lambda: entries(first, 60))
        use(linked, replica)
        os.kill(worker.process.pid, signal.SIGCONT)
        await load.flowing(timeout_s=60)
        await judge(load, row)
        use(linked, first)
    assert load.generated.repeats > 0


async def test_read_only(linked: LinkedStack, tmp_path: Path, row: Callable[[str], None]) -> None:
    """R6: the live Redis becomes read-only for 2 s."""
    async with linked.stack.redis.client() as redis, load_on(linked, tmp_path) as load:
        # A master that cannot be reached: the data stays, writes are refused.
        await follow(redis, 1)
        await load.until("refused")
        await asyncio.sleep(2)
        await follow(redis, None)
        await load.flowing()
        await judge(load, row)
    assert 503 in load.generated.statuses
    assert load.generated.repeats == 0


async def test_loading(linked: LinkedStack, tmp_path: Path, row: Callable[[str], None]) -> None:
    """R6: Redis was restarted and takes its time to load."""
    handle = linked.stack.redis
    async with handle.client() as redis, load_on(linked, tmp_path) as load:
        # Replies come every 2 MB of what is loaded.
        await redis.config_set("rdbcompression", "no")
        await populate(redis, 2_000, 10_000)
        await redis.config_set("aof-use-rdb-preamble", "yes")
        await redis.bgrewriteaof()

        async def rewritten() -> bool:
            info = await redis.info("persistence")
            return not (info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])

        await eventually(rewritten)
        await handle.stop(signal.SIGKILL)
        conf = handle.folder / "redis.conf"
        text = conf.read_text()
        conf.write_text(f"{text}key-load-delay 1000\n")  # 1 ms per key
        starting = asyncio.create_task(handle.start())
        await load.until("refused")
        await starting
        conf.write_text(text)
        assert await loading_replies(linked) > 0
        await load.flowing()
        await judge(load, row)


async def loading_replies(linked: LinkedStack) -> float:
    """How often the gateway was told that Redis loads."""
    async with linked.stack.session.get(f"{linked.stack.urls[0]}/metrics") as reply:
        text = await reply.text()
    (line,) = [x for x in text.splitlines() if 'append_errors_total{kind="loading"}' in x]
    return float(line.rpartition(" ")[2])


async def entries(handle: RedisHandle, most: int) -> bool:
    async with handle.client() as redis:
        try:
            lengths = [await redis.xlen(f"penstock:{{s{shard}}}:stream") for shard in range(16)]
        except RedisError:
            return False
    return sum(lengths) > most
