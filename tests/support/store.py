"""Real store processes for tests: one of a test's own, or one that serves file after file, empty each time,
since starting one takes longer than most files do."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.errors import Transient
from penstock_storage.clickhouse.client import ClickHouse

__all__ = [
    "StoreAddress",
    "StoreHandle",
    "end_shared_stores",
    "running_store",
    "shared_store",
    "start_store",
    "until_running",
]

_START_S = 30.0


@dataclass
class StoreAddress:
    """Where a store is: `url` and `token` are what `ClickHouse` takes."""

    url: str
    token: str

    def client(self, *, timeout_s: float = 60.0) -> ClickHouse:
        """A new client, not set up; close it."""
        return ClickHouse(self.url, token=self.token, timeout_s=timeout_s)


@dataclass
class StoreHandle(StoreAddress):
    """A store process of a test's own."""

    path: Path
    process: asyncio.subprocess.Process
    arguments: list[str]
    is_plain: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid

    async def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 20)

    async def start_again(self) -> None:
        """Start it over the same folder, at the same address, and wait until it answers."""
        self.process = await _spawn(self.token, self.arguments, is_plain=self.is_plain)
        await _wait_until_ready(self)


async def start_store(
    path: Path,
    *,
    token: str | None = None,
    memory_bytes: int = 2 * 2**30,
    port: int | None = None,
    socket_name: str = "store.sock",
    is_plain: bool = False,
) -> StoreHandle:
    """Start a store process over `path`/data and wait until it answers.

    `is_plain`: that the mode of a file or folder means something to it even if we are root.
    """
    token = secrets.token_hex(16) if token is None else token
    socket = path / socket_name
    if len(str(socket)) > 100:  # the kernel's limit for a socket's path is 107 bytes
        socket = Path(tempfile.mkdtemp(prefix="penstock-")) / "store.sock"
    arguments = [
        "--path", str(path / "data"), "--socket", str(socket), "--memory-bytes", str(memory_bytes)
    ]  # fmt: skip
    if port is not None:
        arguments += ["--port", str(port)]
    process = await _spawn(token, arguments, is_plain=is_plain)
    handle = StoreHandle(f"unix://{socket}", token, path, process, arguments, is_plain)
    try:
        await _wait_until_ready(handle)
    except BaseException:
        await handle.kill()
        raise
    return handle


async def _spawn(token: str, arguments: list[str], *, is_plain: bool) -> asyncio.subprocess.Process:
    plainly = []
    if is_plain and os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("there is no setpriv command")
        plainly = ["setpriv", "--bounding-set", "-dac_override"]
    return await asyncio.create_subprocess_exec(
        *plainly, sys.executable, "-m", "penstock_storage.embedded.store_process", *arguments,
        env={**os.environ, "PENSTOCK_STORE_TOKEN": token},
    )  # fmt: skip


async def _wait_until_ready(handle: StoreHandle) -> None:
    client = handle.client()
    try:
        async with asyncio.timeout(_START_S):
            while True:
                if handle.process.returncode is not None:
                    raise RuntimeError(f"the store exited with {handle.process.returncode}")
                with suppress(Transient):
                    return await client.ping()
                await asyncio.sleep(0.01)
    finally:
        await client.close()


@asynccontextmanager
async def running_store(
    path: Path,
    *,
    token: str | None = None,
    memory_bytes: int = 2 * 2**30,
    port: int | None = None,
    is_plain: bool = False,
) -> AsyncIterator[StoreHandle]:
    """A store process over `path`/data, stopped at the end; see `start_store`."""
    handle = await start_store(
        path, token=token, memory_bytes=memory_bytes, port=port, is_plain=is_plain
    )
    try:
        yield handle
    finally:
        try:
            await handle.stop()
        finally:
            await handle.kill()


_IDLE: list[_SharedStore] = []


class _SharedStore(StoreAddress):
    """A store process that outlives the event loop it is used in."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="penstock-"))
        super().__init__(f"unix://{folder / 'store.sock'}", secrets.token_hex(16))
        self.folder = folder
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "penstock_storage.embedded.store_process",
                "--path", str(folder / "data"), "--socket", str(folder / "store.sock"),
            ],
            env={**os.environ, "PENSTOCK_STORE_TOKEN": self.token},
        )  # fmt: skip

    async def empty(self) -> None:
        """Wait until it answers, and drop what the last file left there."""
        client = self.client()
        deadline = time.monotonic() + _START_S
        try:
            while True:
                try:
                    await client.execute("DROP DATABASE IF EXISTS penstock SYNC")
                    return
                except Transient:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        raise
                await asyncio.sleep(0.01)
        finally:
            await client.close()

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)


@asynccontextmanager
async def shared_store() -> AsyncIterator[StoreAddress]:
    """An empty store that nobody else uses meanwhile, for tests that neither end it nor touch its files."""
    store = _IDLE.pop() if _IDLE else _SharedStore()
    try:
        await store.empty()
        yield store
    except BaseException:
        store.end()  # nobody knows what the test did to it
        raise
    _IDLE.append(store)


def end_shared_stores() -> None:
    """At the end of all tests."""
    while _IDLE:
        _IDLE.pop().end()


async def until_running(points: ClickHouse, text: str, count: int) -> None:
    """Wait until `count` statements that contain `text` run in the store."""
    sql = (
        "SELECT count() AS n FROM system.processes"
        " WHERE position(query, {text:String}) > 0 AND query NOT LIKE '%system.processes%'"
    )
    async with asyncio.timeout(20):
        while int((await points.query(sql, {"text": text}))["n"][0]) != count:
            await asyncio.sleep(0.01)
