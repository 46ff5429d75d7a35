"""A run whose machine vanished is marked crashed; a heartbeat or data brings it back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from benchmarks.generate import Shape, WriterPlan, batch_bytes
from loadtests.native import shipper_of
from support.faultload import start_shipper
from support.stack import Stack, eventually, running_stack

from penstock_common.queue.redis_keys import RedisKeys, run_path, shard_of
from penstock_storage.contracts.interface import RunRef, RunRow

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy, pytest.mark.timeout(90)
]  # fmt: skip

KEYS = RedisKeys()
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


# Logs once, and then nothing until its standard input ends.
IDLE = """
import sys, penstock
with penstock.init(project={project!r}, id=sys.argv[1]) as run:
    run.log({{"x": 1.0}})
    sys.stdin.read()
"""


def start_idle(stack: Stack, root: Path, run: str) -> subprocess.Popen[bytes]:
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "WANDB_"))},
        "PENSTOCK_BASE_URL": stack.urls[0],
        "PENSTOCK_API_KEY": stack.api_key,
        "PENSTOCK_CONSOLE": "off",
        "PENSTOCK_FACTS": "off",
        "PENSTOCK_DIR": str(root),
        "PENSTOCK_SILENT": "1",
        "PENSTOCK_SYSTEM_METRICS": "off",
        "XDG_CONFIG_HOME": str(root / "config"),
    }
    command = [sys.executable, "-c", IDLE.format(project=PROJECT), run]
    return subprocess.Popen(command, env=environ, stdin=subprocess.PIPE)


async def test_the_shippers_heartbeats_keep_an_idle_run_alive(stack: Stack, tmp_path: Path) -> None:
    """Two hosts with a run each that logs nothing; one freezes and loses its shipper."""
    worker = await stack.start_worker(silent_after_s=8)
    roots = {name: tmp_path / name for name in ("awake", "frozen")}
    shippers, trainings = {}, {}
    for name, root in roots.items():
        root.mkdir(mode=0o700)
        shippers[name] = start_shipper(root, heartbeat_s=0.5)

    async def are_elected() -> bool:
        return all(shipper_of(roots[name]) == shippers[name].pid for name in roots)

    try:
        # Else a training may start a shipper of its own first, which sends a sign of life too rarely.
        await eventually(are_elected, 30)
        for name, root in roots.items():
            trainings[name] = start_idle(stack, root, name)

        async def are_known() -> bool:
            refs = [RunRef("local", PROJECT, name) for name in roots]
            return None not in [await stack.catalog.run(ref) for ref in refs]

        await eventually(are_known, 30)
        # Frozen first: a training that runs starts another shipper.
        trainings["frozen"].send_signal(signal.SIGSTOP)
        shippers["frozen"].kill()
        shippers["frozen"].wait()
        await becomes(stack, "frozen", "crashed")
        assert (await state_of(stack, "frozen")).info["silent"] is True
        assert (await state_of(stack, "awake")).state == "running"

        shippers["frozen"] = start_shipper(roots["frozen"], heartbeat_s=0.5)
        await becomes(stack, "frozen", "running")
        assert "silent" not in (await state_of(stack, "frozen")).info
        trainings["frozen"].send_signal(signal.SIGCONT)
        for name, training in trainings.items():
            await asyncio.to_thread(training.communicate, b"", 30)
            assert training.returncode == 0
            await becomes(stack, name, "finished")
    finally:
        for process in (*trainings.values(), *shippers.values()):
            if process.poll() is None:
                process.kill()
            process.wait()
        for root in roots.values():  # one that a training started itself, while it had none
            if (pid := shipper_of(root)) is not None:
                os.kill(pid, signal.SIGKILL)
    assert await worker.stop() == 0
