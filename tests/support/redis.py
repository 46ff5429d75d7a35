"""A real Redis for tests, with the settings that `penstock up` gives it."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock_common.queue.connection import connect
from penstock_server.redis_server import config, find_server, version_of

__all__ = ["RedisHandle", "follow", "memory_redis", "populate", "running_redis"]

_START_S = 10.0


@dataclass
class RedisHandle:
    """A running redis-server; `kill` and `start` again on the same folder."""

    url: str
    folder: Path
    process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def client(self, *, timeout_s: float = 10.0) -> Redis:
        """A new client; close it."""
        return connect(self.url, timeout_s=timeout_s)

    async def start(self) -> None:
        """Start the server and wait until it answers."""
        self.process = await asyncio.create_subprocess_exec(
            find_server(), str(self.folder / "redis.conf")
        )
        deadline = asyncio.get_running_loop().time() + _START_S
        redis = self.client(timeout_s=1.0)
        try:
            while True:
                with suppress(RedisError, OSError):
                    await redis.get("x")
                    return
                if asyncio.get_running_loop().time() > deadline:
                    raise RuntimeError("redis-server did not start")
                await asyncio.sleep(0.02)
        finally:
            await redis.aclose()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the server (SIGKILL to crash it) and wait until it is gone."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)
            await self.process.wait()
            self.process = None


def _breakable() -> str:
    """What lets tests break it in ways that Redis 7 otherwise forbids."""
    if version_of(find_server()) < (7, 0):
        return ""
    return "enable-debug-command yes\nenable-protected-configs yes\n"


@asynccontextmanager
async def running_redis(path: Path, *, maxmemory_bytes: int = 2**30) -> AsyncIterator[RedisHandle]:
    """Run redis-server with its files in `path`, on a unix socket."""
    folder = path / "redis"
    folder.mkdir()
    # A socket's path may not be longer than 107 bytes; pytest's folders can be.
    with tempfile.TemporaryDirectory(prefix="ps-") as short:
        socket = Path(short) / "redis.sock"
        text = config(
            socket=socket, folder=folder, maxmemory_bytes=maxmemory_bytes, log=folder / "log"
        )
        (folder / "redis.conf").write_text(text + _breakable())
        handle = RedisHandle(f"unix://{socket}", folder)
        await handle.start()
        try:
            yield handle
        finally:
            await handle.stop()


@asynccontextmanager
async def memory_redis() -> AsyncIterator[Redis]:
    """A Redis in this process, empty, that runs the same scripts: for tests of one process and of
    nothing that takes time."""
    client = FakeAsyncRedis()
    yield client
    await client.aclose()


async def follow(redis: Redis, port: int | None) -> None:
    """Make it a replica of the Redis at this port, or nobody's."""
    master = ("NO", "ONE") if port is None else ("127.0.0.1", str(port))
    await redis.execute_command("REPLICAOF", *master)  # type: ignore[no-untyped-call]


async def populate(redis: Redis, count: int, size: int = 20) -> None:
    """Give it so many keys that mean nothing, for what takes time per key or per byte."""
    await redis.execute_command("DEBUG", "POPULATE", str(count), "filler", str(size))  # type: ignore[no-untyped-call]
