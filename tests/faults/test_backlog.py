"""Rows B1 and T1: workers away while nothing is lost, and clocks that are set."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from support.altered import command, step_clock
from support.faultload import FaultLoad, fault_load
from support.stack import Stack, Worker, running_stack

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(150),
    pytest.mark.asyncio(loop_scope="module"),
]

_HOUR_S = 3_600.0
_TESTS = Path(__file__).parents[1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stack"), workers=0) as stack:
        yield stack


async def judge(load: FaultLoad, row: Callable[[str], None]) -> None:
    found = await load.settle()
    row(load.report)
    assert found.is_clean, str(found)
    assert found.points > 10_000


async def test_workers_away(stack: Stack, tmp_path: Path, row: Callable[[str], None]) -> None:
    """B1: the workers are away for 5 s while nothing is lost: nothing is sent twice."""
    worker = await stack.start_worker(lease_s=1.0)
    async with fault_load(
        stack.urls[0], stack.api_key, stack.store.url, stack.store.token, tmp_path
    ) as load:
        before = await duplicates(stack)
        await worker.stop()
        await asyncio.sleep(5)
        assert await stack.backlog() > 100
        worker = await stack.start_worker(lease_s=1.0)
        await load.flowing()
        await judge(load, row)
        assert await duplicates(stack) == before  # of the native client, too
    assert load.generated.repeats == 0
    await worker.stop()


async def test_clocks_stepped(
    stack: Stack, tmp_path: Path, row: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """T1: the clocks of shipper, worker and gateway go an hour forward, then two back."""
    clock = tmp_path / "clock"
    step_clock(clock, 0)
    worker = await altered_worker(stack, clock)
    gateway_s = 0.0
    true_time, true_time_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: true_time() + gateway_s)
    monkeypatch.setattr(time, "time_ns", lambda: true_time_ns() + round(gateway_s * 1e9))
    async with fault_load(
        stack.urls[0], stack.api_key, stack.store.url, stack.store.token, tmp_path, clock=clock
    ) as load:
        for seconds in (_HOUR_S, -_HOUR_S):
            step_clock(clock, seconds)
            await load.flowing()
            gateway_s = seconds
            await load.flowing()
            # In the middle of a back-off, too.
            os.kill(stack.redis.pid, signal.SIGKILL)
            await stack.redis.stop()
            await load.until("refused")
            step_clock(clock, -seconds)
            await stack.redis.start()
            await load.flowing()
        await judge(load, row)
    await worker.stop()


async def altered_worker(stack: Stack, clock: Path) -> Worker:
    """A worker with a clock of its own."""
    settings = {f"PENSTOCK_{name.upper()}": value for name, value in stack.settings.items()}
    environ = {**os.environ, **settings, "PENSTOCK_LEASE_S": "2", "PYTHONPATH": str(_TESTS)}
    arguments = command("penstock_workers.main", clock=clock)
    worker = Worker(
        await asyncio.create_subprocess_exec(*arguments, env=environ, cwd=_TESTS.parent)
    )
    stack.workers.append(worker)
    return worker


async def duplicates(stack: Stack) -> float:
    """Batches that the gateway knew already."""
    async with stack.session.get(f"{stack.urls[0]}/metrics") as reply:
        text = await reply.text()
    (line,) = [x for x in text.splitlines() if 'batches_total{outcome="duplicate"}' in x]
    return float(line.rpartition(" ")[2])
