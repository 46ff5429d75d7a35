"""P3: points per second from HTTP until committed and readable, and what limits them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import ledger
from benchmarks.generate import Shape, WriterPlan
from benchmarks.load import PROJECT
from benchmarks.report import Row
from benchmarks.stack import Stack, running

__all__ = ["SHAPES", "Result", "drained", "end_to_end", "generate_load", "rows"]

_TARGET = 3e6
SHAPES = (
    ("1,000 points", Shape(runs=16, keys=100, rows=10, writers=2)),
    ("100,000 points", Shape(runs=16, keys=100, rows=1_000, writers=2)),
    ("10,000 points", Shape(runs=16, keys=100, rows=100, writers=2)),
)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a load process: its rate in points committed per second."""

    rate: float
    took_s: float
    retries: int
    sent: dict[WriterPlan, int]


def generate_load(
    stack: Stack,
    shape: Shape,
    seconds: float,
    *arguments: str,
    started: threading.Event | None = None,
) -> Result:
    """Run the load generator in a separate process until everything it sent is committed; sets `started`
    when the first batch goes out."""
    command = [
        sys.executable, "-m", "benchmarks.load", stack.url, "--seconds", str(seconds),
        "--shape", json.dumps(dataclasses.asdict(shape)), *arguments,
    ]  # fmt: skip
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(stack.api_key + "\n")
        process.stdin.flush()
        process.stdout.readline()
        if started is not None:
            started.set()
        output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load generator ended with {process.returncode}")
    content = json.loads(output)
    sent = {WriterPlan(run, writer): count for run, writer, count in content["sent"]}
    return Result(content["rate"], content["took_s"], content["retries"], sent)


def end_to_end(shape: Shape, seconds: float) -> tuple[Result, str, dict[str, float]]:
    """One load on a fresh installation: (result, ledger, cores used by each role)."""
    with running() as stack:
        before, started = stack.cpu_seconds(), time.monotonic()
        result = generate_load(stack, shape, seconds)
        took_s = time.monotonic() - started
        after = stack.cpu_seconds()
        cores = {role: (after[role] - before[role]) / took_s for role in before}
        found = check(stack, shape, result)
    return result, found, cores


def check(stack: Stack, shape: Shape, result: Result) -> str:
    """The ledger's line. Raises `RuntimeError` if it is not clean: then no figure counts."""
    found = asyncio.run(
        ledger.check(stack.store_url, stack.store_token, shape, result.sent, PROJECT)
    )
    if not found.is_clean:
        raise RuntimeError(f"the ledger is not clean: {found}")
    return str(found)


def worker_alone(shape: Shape, seconds: float) -> float:
    """Points per second of a worker with full streams and the cores to itself."""
    with running() as stack:
        worker = stack.children["worker"][0]
        os.kill(worker, signal.SIGSTOP)
        result = generate_load(stack, shape, seconds, "--no-wait")
        os.kill(worker, signal.SIGCONT)
        started = time.monotonic()
        asyncio.run(drained(stack))
        took_s = time.monotonic() - started
        check(stack, shape, result)
    return sum(result.sent.values()) * shape.points / took_s


async def drained(stack: Stack) -> None:
    """Wait until the queue is empty."""
    from penstock_common.queue.connection import connect
    from penstock_common.queue.redis_keys import SHARDS, RedisKeys

    redis, keys = connect(stack.redis_url, timeout_s=10), RedisKeys()
    try:
        while sum([await redis.xlen(keys.stream(shard)) for shard in range(SHARDS)]):
            await asyncio.sleep(0.02)
    finally:
        await redis.aclose()


def rows(seconds: float) -> Iterator[Row]:
    """P3 at three sizes of batches; the target is judged at 10,000 points per batch."""
    alone = worker_alone(SHAPES[-1][1], min(seconds, 8))
    for name, shape in SHAPES:
        result, found, cores = end_to_end(shape, seconds)
        used = ", ".join(f"{role} {each:.2f}" for role, each in cores.items())
        is_judged = shape is SHAPES[-1][1]
        yield Row(
            "P3",
            f"end to end, batches of {name}, {seconds:.0f} s ({used} cores); ledger: {found}",
            f"{result.rate / 1e6:.2f} M points/s",
            "≥ 3 M, ≥ 0.75 of the worker alone" if is_judged else "",
            f"worker alone {alone / 1e6:.2f} M, ratio {result.rate / alone:.2f}",
            result.rate >= _TARGET and result.rate >= 0.75 * alone if is_judged else None,
        )
