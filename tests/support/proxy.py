"""A TCP proxy that misbehaves on order: between a client and a gateway, a gateway and Redis, a worker
and its store.

It listens on a free loopback port and passes bytes to `target`, a TCP address or a unix socket.
What a test sets on `up` (towards the target) and `down` (towards the client) holds for every byte
from then on, of connections that are open too.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from urllib.parse import urlsplit

__all__ = ["Flow", "Proxy", "running_proxy"]

_PIECE_BYTES = 16 << 10
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Flow:
    """One direction. `reset_after` counts bytes of all connections together, and works once: the
    connection whose bytes use it up is reset right there. 0 on `down` loses the next reply."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    reset_after: int | None = None
    _moving: asyncio.Event = field(default_factory=asyncio.Event)
    passed_bytes: int = 0

    def __post_init__(self) -> None:
        self._moving.set()

    def stall(self) -> None:
        """Hold every byte back; the connections stay open."""
        self._moving.clear()

    def resume(self) -> None:
        self._moving.set()

    @property
    def is_stalled(self) -> bool:
        return not self._moving.is_set()

    async def hold(self, size: int, rng: random.Random) -> None:
        """Wait as long as a piece of this size has to."""
        await self._moving.wait()
        wait_s = self.delay_s + rng.uniform(-self.jitter_s, self.jitter_s)
        if self.bytes_per_s:
            wait_s += size / self.bytes_per_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        await self._moving.wait()

    async def broken(self) -> None:
        """Wait until `reset_after` has done its work."""
        while self.reset_after is not None:
            await asyncio.sleep(0.005)

    def well(self) -> None:
        """Pass everything again, at once."""
        self.delay_s = self.jitter_s = self.bytes_per_s = 0.0
        self.reset_after = None
        self.resume()


class Proxy:
    """Use `running_proxy`. `resets` counts the connections that it broke."""

    def __init__(self, target: str, seed: int = 1) -> None:
        self.target = target
        self.up, self.down = Flow(), Flow()
        self.refuses = False
        """Whether new connections are reset at once."""
        self.resets = 0
        self.port = 0
        self._rng = random.Random(seed)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def reset_all(self) -> None:
        """Break every connection that is open."""
        for writer in list(self._writers):
            self._reset(writer)

    def drop(self) -> None:
        """The other side is gone: break what is open and refuse what comes."""
        self.refuses = True
        self.reset_all()

    def well(self) -> None:
        """Be a proxy that does nothing."""
        self.refuses = False
        self.up.well()
        self.down.well()

    async def end(self) -> None:
        """Break everything, and wait until nothing is left of it."""
        self.drop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until either side closes it."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            self._reset(writer)
            return
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            self._reset(writer)
            return
        pair = {writer, far_writer}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(reader, far_writer, self.up, pair))
                tasks.create_task(self._pass(far_reader, writer, self.down, pair))
        finally:
            self._writers -= pair
            for each in pair:
                each.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.target)
        if parts.scheme == "unix":
            return await asyncio.open_unix_connection(parts.path)
        return await asyncio.open_connection(parts.hostname, parts.port)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        flow: Flow,
        pair: set[asyncio.StreamWriter],
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while piece := await reader.read(_PIECE_BYTES):
                await flow.hold(len(piece), self._rng)
                kept = piece if flow.reset_after is None else piece[: flow.reset_after]
                writer.write(kept)
                await writer.drain()
                flow.passed_bytes += len(kept)
                if flow.reset_after is not None:
                    flow.reset_after -= len(kept)
                    if flow.reset_after <= 0:
                        flow.reset_after = None
                        break
            else:
                with suppress(OSError):
                    writer.write_eof()
                return
        for each in pair:
            self._reset(each)

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        """Close with RST, not FIN: bytes on the way are lost, as when a machine goes."""
        if writer.is_closing():
            return
        self.resets += 1
        socket = writer.get_extra_info("socket")
        with suppress(OSError):
            socket.setsockopt(SOL_SOCKET, SO_LINGER, _RESET_ON_CLOSE)
        writer.transport.abort()


@asynccontextmanager
async def running_proxy(target: str | Path, seed: int = 1) -> AsyncIterator[Proxy]:
    """A proxy to `target`, `http://…`, `redis://…` or `unix://…`, closed at the end."""
    proxy = Proxy(f"unix://{target}" if isinstance(target, Path) else target, seed)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
