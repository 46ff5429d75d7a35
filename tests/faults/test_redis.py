"""The queue dies, freezes, fills up, is wiped or robbed: rows R1, R2, R3, R4, R5 and R7.

Redis is a buffer, never the record: whatever becomes of it, the ledger is clean afterwards.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from benchmarks.ledger import Ledger
from redis.exceptions import RedisError
from support.disks import small_disk
from support.faultload import FaultLoad, fault_load
from support.redis import populate
from support.stack import Stack, eventually, running_stack

from penstock_common.queue.redis_keys import SHARDS, RedisKeys

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(150),
    pytest.mark.asyncio(loop_scope="module"),
]

_STALLED_S = 4.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One installation for the file: two gateways, and a worker that is missed after a second."""
    path = tmp_path_factory.mktemp("stack")
    async with running_stack(path, gateways=2, workers=0, queue_timeout_s=1.0) as stack:
        await stack.start_worker(lease_s=1.0)
        yield stack


def load_on(
    stack: Stack, folder: Path, *, stalled_s: float = 900.0
) -> AbstractAsyncContextManager[FaultLoad]:
    return fault_load(
        stack.urls[0],
        stack.api_key,
        stack.store.url,
        stack.store.token,
        folder,
        stalled_s=stalled_s,
    )


async def judge(load: FaultLoad, row: Callable[[str], None]) -> None:
    found: Ledger = await load.settle()
    row(load.report)
    assert found.is_clean, str(found)
    assert found.points > 10_000


@pytest.mark.parametrize("seconds", [0, 3])
async def test_redis_killed(
    stack: Stack, tmp_path: Path, row: Callable[[str], None], seconds: float
) -> None:
    """R1: kill -9 of Redis, back after so many seconds."""
    async with load_on(stack, tmp_path) as load:
        before = await incarnations(stack)
        await stack.redis.stop(signal.SIGKILL)
        await asyncio.sleep(seconds)
        await stack.redis.start()
        await load.flowing()
        await judge(load, row)
        assert before.items() <= (await incarnations(stack)).items()  # it kept its data
    assert before


async def incarnations(stack: Stack) -> dict[int, object]:
    """What names each shard's queue, of those that have been used: gone with its data."""
    keys = RedisKeys()
    async with stack.redis.client() as redis:
        found = [(shard, await redis.get(keys.incarnation(shard))) for shard in range(SHARDS)]
    return {shard: name for shard, name in found if name is not None}


async def test_redis_killed_during_a_rewrite(
    stack: Stack, tmp_path: Path, row: Callable[[str], None]
) -> None:
    """R1: kill -9 of Redis while it rewrites its append-only file."""
    async with load_on(stack, tmp_path) as load:
        async with stack.redis.client() as redis:
            # Takes a millisecond per key to write: the rewrite is still on when Redis dies.
            await redis.config_set("rdb-key-save-delay", 20_000)
            await populate(redis, 20_000)
            await redis.bgrewriteaof()
            info = await redis.info("persistence")
            assert info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]
        await load.flowing()
        await stack.redis.stop(signal.SIGKILL)
        await stack.redis.start()
        await load.flowing()
        await judge(load, row)


async def test_redis_flushed(stack: Stack, tmp_path: Path, row: Callable[[str], None]) -> None:
    """R2: FLUSHALL with a backlog that no worker has seen."""
    async with load_on(stack, tmp_path) as load:
        with paused(stack):
            async with stack.redis.client() as redis:
                await eventually(lambda: long_backlog(stack))
                await redis.flushall()
        await load.flowing()
        await judge(load, row)
    assert load.generated.repeats > 0


async def test_redis_comes_back_empty(
    stack: Stack, tmp_path: Path, row: Callable[[str], None]
) -> None:
    """R2: Redis is killed and its folder deleted, with a backlog."""
    async with load_on(stack, tmp_path) as load:
        with paused(stack):
            await eventually(lambda: long_backlog(stack))
            await stack.redis.stop(signal.SIGKILL)
            (stack.redis.folder / "appendonly.aof").unlink(missing_ok=True)
            shutil.rmtree(stack.redis.folder / "appendonlydir", ignore_errors=True)
            await stack.redis.start()
        await load.flowing()
        await judge(load, row)
    assert load.generated.repeats > 0


@pytest.mark.parametrize("seconds", [0.5, 3])
async def test_redis_frozen(
    stack: Stack, tmp_path: Path, row: Callable[[str], None], seconds: float
) -> None:
    """R3: SIGSTOP of Redis for so many seconds."""
    async with load_on(stack, tmp_path) as load:
        os.kill(stack.redis.pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(stack.redis.pid, signal.SIGCONT)
        await load.flowing()
        await judge(load, row)
    if seconds > 1:  # longer than the gateway waits
        assert 503 in load.generated.statuses


async def test_redis_full(stack: Stack, tmp_path: Path, row: Callable[[str], None]) -> None:
    """R4: maxmemory is reached while the workers are away; they come back and drain it."""
    async with stack.redis.client() as redis, load_on(stack, tmp_path) as load:
        for worker in stack.workers:
            if worker.process.returncode is None:
                await worker.stop()
        used = (await redis.info("memory"))["used_memory"]
        await redis.config_set("maxmemory", used + 300_000)
        await load.until("refused")
        await stack.start_worker(lease_s=1.0)
        await load.flowing()  # with as little memory as before
        await redis.config_set("maxmemory", 2**30)
        await judge(load, row)
    assert load.generated.repeats == 0


async def test_disk_of_redis_full(stack: Stack, tmp_path: Path, row: Callable[[str], None]) -> None:
    """R5: the disk under Redis' append-only file fills up, and has room again."""
    async with stack.redis.client() as redis:
        with small_disk(tmp_path / "disk", "24m") as disk:
            async with load_on(stack, tmp_path) as load:
                await redis.config_set("appendonly", "no")
                await redis.config_set("dir", str(disk.folder))
                await redis.config_set("appendonly", "yes")
                await eventually(lambda: is_appending(stack))
                disk.fill()
                await load.until("refused")
                with pytest.raises(RedisError, match="MISCONF"):
                    await redis.set("x", "y")
                disk.make_room()
                await load.flowing()
                await judge(load, row)
            await redis.config_set("appendonly", "no")
            await redis.config_set("dir", str(stack.redis.folder))
            await redis.config_set("appendonly", "yes")
            await eventually(lambda: is_appending(stack))


@pytest.mark.parametrize("command", ["XDEL", "XTRIM"])
async def test_entries_removed_by_hand(
    stack: Stack, tmp_path: Path, row: Callable[[str], None], command: str
) -> None:
    """R7: entries are removed from live streams by hand; the slow timer brings them back."""
    async with (
        stack.redis.client() as redis,
        load_on(stack, tmp_path, stalled_s=_STALLED_S) as load,
    ):
        with paused(stack):
            await eventually(lambda: long_backlog(stack))
            for shard in range(16):
                stream = f"penstock:{{s{shard}}}:stream"
                if command == "XTRIM":
                    await redis.xtrim(stream, maxlen=1, approximate=False)
                elif entries := await redis.xrange(stream):
                    await redis.xdel(stream, *[str_id(entry) for entry, _ in entries[::2]])
        await load.flowing(timeout_s=60)
        await judge(load, row)
    assert load.generated.repeats > 0


def str_id(entry: bytes | str | None) -> bytes | str:
    assert entry is not None
    return entry


async def long_backlog(stack: Stack) -> bool:
    return await stack.backlog() > 60


async def is_appending(stack: Stack) -> bool:
    async with stack.redis.client() as redis:
        info = await redis.info("persistence")
    return bool(info["aof_enabled"]) and not (
        info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]
    )


@contextmanager
def paused(stack: Stack) -> Iterator[None]:
    """No worker works meanwhile."""
    pids = [w.process.pid for w in stack.workers if w.process.returncode is None]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
