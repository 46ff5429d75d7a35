"""P17: the memory that gateway and worker take for the worst batches that the limits allow.

Each kind is as large as a limit allows, sent by many senders at once to an installation whose worker is
paused, so that the queue is full of them when it resumes. The figures are the peak memory of each
process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks.report import Row
from benchmarks.stack import Stack, running
from penstock.wire import CONTENT_TYPE, DEFAULT_LIMITS, Batch, Frame, encode_batch, join_batches
from penstock.wire.field_types import MAX_TEXT_CHARS
from penstock_common.queue.connection import connect
from penstock_common.queue.redis_keys import SHARDS, RedisKeys

__all__ = ["rows"]

_SENDERS = 32
_BATCHES = 96
_MOST_GATEWAY_MIB, _MOST_WORKER_MIB = 1_024, 2_560
_DRAIN_S = 600.0
_LATER_S = 0.2


def _batch(run: int, **content: Any) -> bytes:
    return encode_batch(
        Batch(project="worst", run=f"run{run}", writer="w", seq=1, writer_started=1, **content),
        compress=True,
    )


def _columns(run: int) -> bytes:
    """Constant metrics: nearly as many bytes as may be decoded, in a frame of a few KB."""
    keys, rows = 2_000, 900
    steps = np.arange(rows, dtype="<i8")
    values = np.full(keys * rows, 3e-4, "<f8")
    times = np.zeros(rows, "<i8")
    frame = Frame(
        [f"m{i}" for i in range(keys)], steps.tobytes(), times.tobytes(), values.tobytes()
    )
    return _batch(run, frames=[frame])


def _wide(run: int) -> bytes:
    """As many metrics as a frame may have, all of them new."""
    keys = [f"run{run}/metric{i}" for i in range(DEFAULT_LIMITS.keys_per_frame)]
    steps, values = np.zeros(1, "<i8").tobytes(), np.zeros(len(keys), "<f8").tobytes()
    return _batch(run, frames=[Frame(keys, steps, steps, values)])


def _elements(run: int) -> bytes:
    """As many list entries as a batch may have, each itself a list: expensive objects."""
    count = DEFAULT_LIMITS.elements // 3 - 1_000
    return _batch(run, records=[{"t": "config", "update": {"nested": [[0]] * count}}])


def _text(run: int) -> bytes:
    """Console lines that compress well, such as rows of dots."""
    text = "." * MAX_TEXT_CHARS
    count = DEFAULT_LIMITS.decoded_bytes // MAX_TEXT_CHARS - 1
    return _batch(run, records=[
        {"t": "console", "line": line, "stream": "stdout", "time": 0, "text": text}
        for line in range(count)
    ])  # fmt: skip


_KINDS: dict[str, Callable[[int], bytes]] = {
    "constant columns": _columns,
    "20,000 new metrics": _wide,
    "nested lists": _elements,
    "long texts": _text,
}


def rows(_: float) -> Iterator[Row]:
    """One row per kind and process."""
    for name, make in _KINDS.items():
        # A worker that stands still must not be replaced: this is about what it holds afterwards.
        with running(settings={"PENSTOCK_PATIENCE_S": "0"}) as stack:
            worker = stack.children["worker"][0]
            os.kill(worker, signal.SIGSTOP)
            raws = [make(run) for run in range(_BATCHES)]
            asyncio.run(_send(stack, raws))
            os.kill(worker, signal.SIGCONT)
            asyncio.run(_drained(stack))
            gateway_mib = _most_mib(stack.children["gateway"][0])
            worker_mib = _most_mib(worker)
        what = f"most memory, {_BATCHES} x {name}, {len(raws[0]) / 1024:.0f} KB each"
        for role, mib, allowed in (
            ("gateway", gateway_mib, _MOST_GATEWAY_MIB),
            ("worker", worker_mib, _MOST_WORKER_MIB),
        ):
            yield Row(
                "P17", f"{role}, {what}", f"{mib:.0f} MiB", f"≤ {allowed}", "", mib <= allowed
            )


async def _send(stack: Stack, raws: list[bytes]) -> None:
    """Send all of them, with several senders that retry when asked to wait."""
    waiting = list(raws)
    headers = {"Authorization": f"Bearer {stack.api_key}", "Content-Type": CONTENT_TYPE}

    async def one(session: aiohttp.ClientSession) -> None:
        while waiting:
            raw = waiting.pop()
            async with session.post(f"{stack.url}/v1/batches", data=join_batches([raw])) as reply:
                if reply.status == 202:
                    continue
                if reply.status not in (429, 503):
                    raise RuntimeError(f"answered {reply.status}: {await reply.text()}")
            waiting.append(raw)
            await asyncio.sleep(_LATER_S)

    async with asyncio.timeout(_DRAIN_S), aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(one(session) for _ in range(_SENDERS)))


async def _drained(stack: Stack) -> None:
    redis, keys = connect(stack.redis_url, timeout_s=10), RedisKeys()
    deadline = time.monotonic() + _DRAIN_S
    try:
        while sum([await redis.xlen(keys.stream(shard)) for shard in range(SHARDS)]):
            if time.monotonic() > deadline:
                raise RuntimeError("the queue did not become empty")
            await asyncio.sleep(0.1)
    finally:
        await redis.aclose()


def _most_mib(pid: int) -> float:
    """The peak memory of this process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} does not say what it held")
