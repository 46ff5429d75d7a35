"""What `penstock plan` says of a small load is what that load takes, within a factor."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from benchmarks.generate import Shape
from benchmarks.ingest import generate_load
from benchmarks.stack import running

from penstock_common.queue.connection import connect
from penstock_server.plan.sizing import ROLES, plan_for
from penstock_server.plan.workload import Workload

# Processors differ, and tests run beside each other: CPU time per batch varies by half on one machine.
FACTOR = 4.0
RUNS, WARM_S, SECONDS = 128, 6.0, 12.0  # more runs than the generator has connections
LOAD = Workload(runs=RUNS, keys=20, hz=10.0, readers=0)


def is_near(planned: float, used: float) -> bool:
    return planned / FACTOR <= used <= planned * FACTOR


@pytest.mark.heavy
@pytest.mark.timeout(180)
def test_a_real_load_takes_what_was_planned() -> None:
    shape = Shape(runs=RUNS, keys=20, rows=10)
    plan = plan_for(LOAD)
    assert plan["batches per second"] == RUNS  # as the generator sends
    with running() as stack, ThreadPoolExecutor() as pool:
        sends = threading.Event()
        load = pool.submit(
            partial(generate_load, started=sends),
            stack, shape, WARM_S + SECONDS + 1, "--rate", str(RUNS),
        )  # fmt: skip
        sends.wait()
        time.sleep(WARM_S)  # what creates the runs is no part of it
        before, started = stack.cpu_seconds(), time.monotonic()
        time.sleep(SECONDS)
        after, took_s = stack.cpu_seconds(), time.monotonic() - started
        load.result()
        asyncio.run(_check_memory(stack.redis_url, plan["Redis maxmemory"]))
    used = {role: after[role] - before[role] for role in ROLES}
    planned = {role: plan[f"{role} cores"] * took_s for role in ROLES}
    told = ", ".join(f"{role} {used[role]:.2f} s, planned {planned[role]:.2f}" for role in ROLES)
    assert is_near(sum(planned.values()), sum(used.values())), told
    for role in ROLES:
        # What one part takes may be small: a tenth of a second is noise.
        assert used[role] <= planned[role] * FACTOR + 0.1, told


async def _check_memory(url: str, planned: float) -> None:
    """Redis never held more than was planned for an outage."""
    redis = connect(url, timeout_s=10)
    try:
        assert (await redis.info("memory"))["used_memory_peak"] <= planned
    finally:
        await redis.aclose()
