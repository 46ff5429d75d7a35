"""Workers killed, frozen, and coming and going, each under load: the ledger is the judge."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from benchmarks.generate import Shape, plans
from support.stack import Stack, eventually, running_stack
from support.steady import Steady
from support.tiers import tiers_settled, wrong_tiers
from support.workers import kept_worker, metrics_of

from penstock_common.queue.redis_keys import SHARDS, RedisKeys

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy, pytest.mark.timeout(150)
]  # fmt: skip

KEYS = RedisKeys()
SHAPE = Shape(runs=3, keys=4, rows=256, writers=2, seed=11)
BATCHES = 40  # 10,240 steps: long enough for tiers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack"), workers=0) as running:
        yield running


@pytest.fixture
def faults() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ps-") as folder:
        yield Path(folder)


def load(stack: Stack, project: str) -> Steady:
    return Steady(stack, SHAPE, project, batches=BATCHES)


@pytest.mark.parametrize(
    "place",
    ["after_read", "fold", "after_points", "before_acknowledge", "after_acknowledge"],
)
async def test_killed(stack: Stack, faults: Path, place: str) -> None:
    """W1: kill -9 of the worker at each step of a commit, three times each."""
    steady = load(stack, f"killed-{place}")
    async with kept_worker(stack, failpoints=faults) as kept:
        sending = asyncio.create_task(steady.send())
        (faults / f"worker.{place}").write_text("kill\nkill\nkill")
        await sending
        await stack.drained(60)
        # The last of them may need one more commit than the load made.
        more = Steady(stack, SHAPE, f"more-{place}", batches=3)
        while (faults / f"worker.{place}").exists():
            await more.send()
            await stack.drained(60)
            more = Steady(stack, SHAPE, f"more-{place}-{len(kept.codes)}", batches=3)
        await steady.check()
        assert kept.codes == [-signal.SIGKILL] * 3


async def test_tiers_equal_a_rebuild(stack: Stack) -> None:
    """W1: tiers of all that was stored with workers killed equal a rebuild from the points."""
    async with kept_worker(stack):
        await load(stack, "tiers").send()
        await stack.drained(60)
        await tiers_settled(stack.points)
        tiers, wrong = await wrong_tiers(stack.points)
    assert tiers[8] >= len(plans(SHAPE)) * SHAPE.keys * (BATCHES * SHAPE.rows >> 8)
    assert wrong == 0


@pytest.mark.parametrize("place", ["after_points", "before_acknowledge"])
async def test_a_zombie_changes_nothing(stack: Stack, faults: Path, place: str) -> None:
    """W2: a worker is frozen in mid-commit, loses its shards, and wakes up."""
    steady = load(stack, f"zombie-{place}")
    socket = faults / "metrics"
    zombie = await stack.start_worker(
        "zombie", failpoints=faults, lease_s=1.0, metrics_socket=socket
    )
    sending = asyncio.create_task(steady.send())
    fault = faults / f"worker.{place}"
    fault.write_text("stop")

    async def is_frozen() -> bool:
        status = Path(f"/proc/{zombie.process.pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0] == "T"

    await eventually(is_frozen, 30)
    heir = await stack.start_worker("heir", lease_s=1.0)
    await sending
    await stack.drained(60)
    redis = stack.redis.client()
    before = [await redis.hgetall(KEYS.committed(shard)) for shard in range(SHARDS)]
    os.kill(zombie.process.pid, signal.SIGCONT)

    async def is_fenced() -> bool:
        found = await metrics_of(socket)
        return found.get(("penstock_worker_errors_total", "fenced"), 0) > 0

    await eventually(is_fenced, 30)
    assert [await redis.hgetall(KEYS.committed(shard)) for shard in range(SHARDS)] == before
    await redis.aclose()
    await steady.check()
    rows = await stack.points.query("SELECT low, gaps FROM penstock.applied FINAL WHERE gaps != []")
    assert not len(rows["low"])
    assert await zombie.stop() == 0
    assert await heir.stop() == 0


async def test_workers_come_and_go(stack: Stack) -> None:
    """W3: 1 to 4 to 2 workers under load, one of them killed; no shard is long without one."""
    lease_s = 2.0
    redis = stack.redis.client()
    unowned_since: dict[int, float] = {}
    longest_s = 0.0
    stop = asyncio.Event()

    async def watch() -> None:
        nonlocal longest_s
        while not stop.is_set():
            async with redis.pipeline(transaction=False) as pipeline:
                for shard in range(SHARDS):
                    pipeline.execute_command("EXISTS", KEYS.lease(shard))
                owned = await pipeline.execute()
            now = time.monotonic()
            for shard, is_owned in enumerate(owned):
                if is_owned:
                    longest_s = max(longest_s, now - unowned_since.pop(shard, now))
                else:
                    unowned_since.setdefault(shard, now)
            await asyncio.sleep(0.02)

    async def owners() -> int:
        leases: list[Any] = await redis.mget([KEYS.lease(shard) for shard in range(SHARDS)])
        return len({lease.split(b":")[0] for lease in leases if lease}) * all(leases)

    async def spread_over(count: int) -> None:
        async def is_spread() -> bool:
            return await owners() == count

        await eventually(is_spread, 30)

    steady = Steady(stack, SHAPE, "scaled", batches=BATCHES, seconds=8.0)
    workers = [await stack.start_worker(lease_s=lease_s)]
    await spread_over(1)
    watching = asyncio.create_task(watch())
    sending = asyncio.create_task(steady.send())
    workers += [await stack.start_worker(lease_s=lease_s) for _ in range(3)]
    await spread_over(4)
    assert await workers.pop(0).stop() == 0
    await workers.pop().kill()
    await spread_over(2)
    await sending
    await steady.check()
    stop.set()
    await watching
    assert not unowned_since
    assert longest_s <= lease_s + 2
    # Nobody is counted who is gone.
    assert await redis.zcard(KEYS.workers()) == 2
    await redis.aclose()
    for worker in workers:
        assert await worker.stop() == 0
