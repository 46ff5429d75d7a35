"""P19: what `penstock plan` calculates with: CPU per batch and point of each role, memory, bytes sent and queued.

`python -m benchmarks --plan` writes the figures to where `penstock plan` reads them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp
import numpy as np
import psutil

from benchmarks.generate import Shape, WriterPlan, batch_bytes, key_names, plans
from benchmarks.ingest import Result, check, drained, generate_load
from benchmarks.light import training
from benchmarks.light_load import LOADS
from benchmarks.load import PROJECT
from benchmarks.machine import describe
from benchmarks.report import Row
from benchmarks.spools import spool_folder
from benchmarks.stack import Stack, running
from penstock.errors import Transient
from penstock.link import Link
from penstock.wire.compression import compress
from penstock_common.queue.connection import connect
from penstock_server.plan.figures import Figure, write_figures

__all__ = ["measured", "rows", "write"]

_ROLES = ("gateway", "worker", "store", "redis")
# More runs than the generator has connections.
_SMALL, _LARGE = Shape(runs=500, keys=20, rows=10), Shape(runs=128, keys=100, rows=100)
_LARGE_RATE = 60.0
_ONE_RUN = LOADS[1]
_WARM_S, _MERGE_S = 6.0, 10.0
_QUEUED = (Shape(runs=16, keys=10, rows=8), Shape(runs=16, keys=100, rows=80))
_SENT = tuple(Shape(1, keys, rows) for keys in (1, 20, 200) for rows in (1, 10, 100))
_CATALOG_RUNS, _CONFIG_KEYS, _SUMMARY_KEYS = 300, 50, 20
_READERS, _READ_S = 4, 3.0

Values = dict[str, float]


def rows(seconds: float) -> Iterator[Row]:
    """P19; the figures are those of `measured`."""
    yield from (row for row, _ in measured(seconds))


def measured(seconds: float) -> Iterator[tuple[Row, Values]]:
    """Each row with the figures that it is about."""
    yield _at_rest(seconds)
    yield from _per_batch_and_point(seconds)
    yield _sent()
    yield _queued(min(seconds, 3.0))
    yield _catalog()
    yield _around_a_batch()


def write(found: Values, what: str) -> None:
    """Write the figures of a row to the file that `penstock plan` reads."""
    about = describe()
    machine = ", ".join(
        (
            about["processor"],
            f"{about['cores']} cores",
            about["memory"],
            f"load {about['load before']}",
        )
    )
    date = time.strftime("%Y-%m-%d")
    write_figures(
        Figure(name, float(f"{value:.4g}"), *_ABOUT[name], f"P19 | {what}", machine, date)
        for name, value in found.items()
    )


def _row(what: str, ours: str, reference: str = "") -> Row:
    return Row("P19", what, ours, "", reference)


def _cores(before: Values, after: Values, took_s: float) -> Values:
    return {role: (after[role] - before[role]) / took_s for role in _ROLES}


def _at_rest(seconds: float) -> tuple[Row, Values]:
    """One run with its own client: what each part does however little there is to do."""
    with running() as stack, spool_folder() as spool, training(stack, _ONE_RUN, spool):
        time.sleep(2 * _WARM_S)
        before, started = stack.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        used = _cores(before, stack.cpu_seconds(), time.monotonic() - started)
    split = ", ".join(f"{role} {used[role]:.4f}" for role in _ROLES)
    row = _row(f"at rest, {_ONE_RUN.name}", f"{sum(used.values()):.4f} cores", split)
    return row, {f"{role}_cores_at_rest": used[role] for role in _ROLES}


def _begin(
    pool: ThreadPoolExecutor, stack: Stack, shape: Shape, seconds: float, rate: float
) -> Future[Result]:
    """Start a load at a rate of batches per second, and wait until it sends."""
    sends = threading.Event()
    load = pool.submit(
        partial(generate_load, started=sends), stack, shape, seconds, "--rate", str(rate)
    )
    sends.wait()
    return load


def _per_batch_and_point(seconds: float) -> Iterator[tuple[Row, Values]]:
    small, small_mib, _ = _cost(_SMALL, float(_SMALL.runs), seconds)
    large, large_mib, query = _cost(_LARGE, _LARGE_RATE, seconds, reads=True)
    found: Values = {}
    for role in _ROLES:
        # us_per_point(batch of n points) = per_batch / n + per_point, at two sizes
        per_batch = (small[role] - large[role]) / (1 / _SMALL.points - 1 / _LARGE.points)
        found[f"{role}_us_per_batch"] = max(0.0, per_batch)
        found[f"{role}_us_per_point"] = max(0.0, large[role] - per_batch / _LARGE.points)
    sizes = ((_SMALL.points, small), (_LARGE.points, large))
    text = "; ".join(
        f"batches of {points:,} points: " + ", ".join(f"{role} {cost[role]:.3f}" for role in _ROLES)
        for points, cost in sizes
    )
    yield _row("CPU-seconds of the servers per million points", text), found
    memory = {
        "gateway_mib": max(small_mib["gateway"], large_mib["gateway"]),
        "worker_mib": max(small_mib["worker"], large_mib["worker"]),
        "store_mib": small_mib["store"],
        "store_mib_per_worker": max(0.0, large_mib["store"] - small_mib["store"]),
        "store_mib_per_query": max(0.0, query),
    }
    text = ", ".join(f"{name} {value:.0f}" for name, value in memory.items())
    yield _row("memory of the processes, most resident MiB each", text), memory


def _cost(
    shape: Shape, rate: float, seconds: float, *, reads: bool = False
) -> tuple[Values, Values, float]:
    """(µs per point by role with merges, most resident MiB by role, MiB more of the store per chart query)"""
    with running() as stack, ThreadPoolExecutor() as pool:
        load = _begin(pool, stack, shape, seconds + _WARM_S + 1, rate)
        # The first rounds create runs and keys.
        time.sleep(_WARM_S)
        before, started, first = stack.cpu_seconds(), time.monotonic(), _stored(stack)
        mib = dict.fromkeys(_ROLES, 0.0)
        while time.monotonic() < started + seconds:
            time.sleep(1)
            mib = {role: max(mib[role], each) for role, each in _resident_mib(stack).items()}
        result = load.result()
        asyncio.run(drained(stack))
        time.sleep(_MERGE_S)
        took_s = time.monotonic() - started
        points = _stored(stack) - first
        used = _cores(before, stack.cpu_seconds(), took_s)
        query = _query_mib(stack) if reads else 0.0
        check(stack, shape, result)
    return {role: 1e6 * used[role] * took_s / points for role in _ROLES}, mib, query


def _stored(stack: Stack) -> int:
    """Points that the gateways have queued so far."""
    return asyncio.run(_metric(stack, "penstock_ingest_points_total"))


async def _metric(stack: Stack, name: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{stack.url}/metrics") as reply:
        lines = (await reply.text()).splitlines()
    return round(
        sum(
            float(line.split(" ")[-1])
            for line in lines
            if line.startswith((f"{name} ", f"{name}{{"))
        )
    )


def _resident_mib(stack: Stack) -> Values:
    return {
        role: sum(psutil.Process(pid).memory_info().rss for pid in stack.children[role]) / 2**20
        for role in _ROLES
    }


def _query_mib(stack: Stack) -> float:
    """How much the store's memory grows while several charts are read at a time, per chart."""
    before, most = _resident_mib(stack)["store"], [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            most[0] = max(most[0], _resident_mib(stack)["store"])
            done.wait(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        asyncio.run(_read_charts(stack))
    finally:
        done.set()
        watcher.join()
    return (most[0] - before) / _READERS


async def _read_charts(stack: Stack) -> None:
    names, keys = [plan.run_name for plan in plans(_LARGE)[:16]], key_names(_LARGE)
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    until = time.monotonic() + _READ_S

    async def read(session: aiohttp.ClientSession, number: int) -> None:
        while time.monotonic() < until:
            number += 1
            body = {"project": PROJECT, "runs": names, "keys": [keys[number % len(keys)]]}
            async with session.post(f"{stack.url}/v1/charts", json=body) as reply:
                reply.raise_for_status()
                await reply.read()

    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(read(session, 25 * number) for number in range(_READERS)))


def _sent() -> tuple[Row, Values]:
    """The sizes of batches as clients send them over a network: compressed, of noise and smooth values."""
    terms, sizes = [], []
    for shape in _SENT:
        for seq in (2, 3, 4):
            raw = batch_bytes(shape, WriterPlan(0, 0), seq, project=PROJECT)
            terms.append((1, shape.keys, shape.rows, shape.points))
            sizes.append(len(compress(raw, 1)) + 4)
    # Weighted so that small batches count as much as large ones.
    weights = 1 / np.array(sizes)
    found, *_ = np.linalg.lstsq(
        np.array(terms) * weights[:, None], np.array(sizes) * weights, rcond=None
    )
    names = ("batch", "key", "row", "point")
    values = {
        f"wire_bytes_per_{name}": max(0.0, float(each))
        for name, each in zip(names, found, strict=True)
    }
    text = " + ".join(f"{values[f'wire_bytes_per_{name}']:.2f} B per {name}" for name in names)
    return _row("bytes of a batch as sent, compressed", text), values


def _queued(seconds: float) -> tuple[Row, Values]:
    """Redis memory of batches that wait for a worker."""
    terms, grown = [], []
    base = 0.0
    for shape in _QUEUED:
        with running() as stack:
            (worker,) = stack.children["worker"]
            os.kill(worker, signal.SIGSTOP)
            try:
                before = asyncio.run(_used_bytes(stack))
                result = generate_load(stack, shape, seconds, "--no-wait")
                used = asyncio.run(_used_bytes(stack)) - before
            finally:
                os.kill(worker, signal.SIGCONT)
            base = max(base, before)
        batches = sum(result.sent.values())
        plan = next(iter(result.sent))
        size = len(batch_bytes(shape, plan, 1_000, project=PROJECT))
        terms.append((1.0, float(size)))
        grown.append(used / batches)
    per_batch, per_byte = np.linalg.solve(np.array(terms), np.array(grown))
    values = {
        "redis_bytes_per_batch": max(0.0, float(per_batch)),
        "redis_bytes_per_wire_byte": float(per_byte),
        "redis_mib": base / 2**20,
    }
    text = f"{values['redis_bytes_per_batch']:.0f} B + {per_byte:.3f} B per byte"
    return _row("Redis memory per queued batch", text, f"empty {base / 2**20:.1f} MiB"), values


async def _used_bytes(stack: Stack) -> float:
    redis = connect(stack.redis_url, timeout_s=10)
    try:
        return float((await redis.info("memory"))["used_memory"])
    finally:
        await redis.aclose()


def _catalog() -> tuple[Row, Values]:
    """The catalog's growth per run with a config and a summary."""
    with running() as stack:
        before = _catalog_bytes(stack)
        asyncio.run(_create_runs(stack))
        each = (_catalog_bytes(stack) - before) / _CATALOG_RUNS
    what = f"catalog per run, {_CONFIG_KEYS} config keys, {_SUMMARY_KEYS} summary keys"
    return _row(what, f"{each:,.0f} B"), {"catalog_bytes_per_run": each}


async def _create_runs(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    url = f"{stack.url}/v1/batches?wait=committed"

    async def create(session: aiohttp.ClientSession, number: int) -> None:
        body: dict[str, Any] = {
            "project": "catalog",
            "run": f"run-{number}",
            "name": f"run {number} of a sweep",
            "tags": ["sweep", "baseline"],
            "config": {f"group{i % 5}/option{i}": number / (i + 1) for i in range(_CONFIG_KEYS)},
            "summary": {f"metric{i}": number / (i + 7) for i in range(_SUMMARY_KEYS)},
            "rows": [{"step": 0, "loss": 1.0}],
        }
        async with session.post(url, json=body) as reply:
            reply.raise_for_status()

    async with aiohttp.ClientSession(headers=headers) as session:
        for first in range(0, _CATALOG_RUNS, 50):
            await asyncio.gather(*(create(session, first + each) for each in range(50)))


def _catalog_bytes(stack: Stack) -> int:
    with sqlite3.connect(f"file:{stack.data / 'catalog.db'}?mode=ro", uri=True) as catalog:
        ((count,),) = catalog.execute("PRAGMA page_count").fetchall()
        ((size,),) = catalog.execute("PRAGMA page_size").fetchall()
    return int(count) * int(size)


def _around_a_batch() -> tuple[Row, Values]:
    """The head that the client sends before a batch, and the server's whole answer."""
    with running() as stack, socket.create_server(("127.0.0.1", 0)) as listener:
        heads: list[bytes] = []
        taker = threading.Thread(target=_take_head, args=(listener, heads))
        taker.start()
        link = Link(f"http://127.0.0.1:{listener.getsockname()[1]}", None, {}, timeout_s=10)
        with suppress(Transient):  # nobody answers: only the head is wanted
            link.post_batches(b"", stack.api_key, age_us=10**9)
        taker.join()
        reply = asyncio.run(_reply_bytes(stack))
    values = {"request_bytes": float(len(heads[0])), "reply_bytes": float(reply)}
    text = f"request {len(heads[0])} B, reply {reply} B"
    return _row("HTTP around a batch", text), values


def _take_head(listener: socket.socket, heads: list[bytes]) -> None:
    """The head of the first request; its connection is closed unanswered, and so is a second one."""
    for _ in range(2):
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            received = b""
            while b"\r\n\r\n" not in received and (piece := connection.recv(65_536)):
                received += piece
        if received:
            heads.append(received.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
            return


async def _reply_bytes(stack: Stack) -> int:
    shape = Shape(1, 20, 10)
    raw = batch_bytes(shape, WriterPlan(0, 0), 1, project=PROJECT)
    body = len(raw).to_bytes(4, "little") + raw
    headers = {"Authorization": f"Bearer {stack.api_key}", "Content-Type": "application/msgpack"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{stack.url}/v1/batches", data=body) as reply,
    ):
        head = sum(len(name) + len(value) + 4 for name, value in reply.raw_headers)
        return len(b"HTTP/1.1 202 Accepted\r\n\r\n") + head + len(await reply.read())


def _about() -> dict[str, tuple[str, str]]:
    """Unit and meaning of each figure that is measured here."""
    found = {
        "wire_bytes_per_batch": ("B", "a batch as sent, apart from its keys, rows and points"),
        "wire_bytes_per_key": ("B", "a key of a batch as sent, apart from its points"),
        "wire_bytes_per_row": ("B", "a row's step and time as sent"),
        "wire_bytes_per_point": ("B", "a value as sent"),
        "redis_bytes_per_batch": ("B", "Redis memory of a queued batch, apart from its bytes"),
        "redis_bytes_per_wire_byte": ("B/B", "Redis memory per byte of a queued batch"),
        "redis_mib": ("MiB", "Redis memory while nothing is queued"),
        "catalog_bytes_per_run": ("B", "the catalog's growth per run"),
        "request_bytes": ("B", "the head of a request with a batch"),
        "reply_bytes": ("B", "the answer to a batch"),
        "gateway_mib": ("MiB", "memory of a gateway under load"),
        "worker_mib": ("MiB", "memory of a worker under load"),
        "store_mib": ("MiB", "memory of the store under a load of small batches"),
        "store_mib_per_worker": ("MiB", "memory of the store, more under a load of large batches"),
        "store_mib_per_query": ("MiB", "memory of the store, more per chart that is read"),
    }
    for role in _ROLES:
        found |= {
            f"{role}_us_per_batch": ("µs", f"CPU of {role} per batch"),
            f"{role}_us_per_point": ("µs", f"CPU of {role} per point, merges included"),
            f"{role}_cores_at_rest": (
                "cores",
                f"CPU of {role} while a single run logs",
            ),
        }
    return found


_ABOUT = _about()
