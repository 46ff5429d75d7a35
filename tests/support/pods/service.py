"""A Service: one address in front of pods, which leads only to those that are ready.

Kubernetes tells its proxies of a change of readiness, or of a deletion, some time after it happened. Until then
they send connections to a pod that wants none any more.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from support.pods.pod import Pod

__all__ = ["Service", "running_service"]

_DELAY_S = 1.0
_CONNECT_S = 3.0
_PIECE_BYTES = 64 << 10


@dataclass
class Service:
    """`refused`: connections that a chosen pod did not take; `unserved`: those that came while there was no
    ready pod."""

    port_of_pods: int
    delay_s: float = _DELAY_S
    pods: list[Pod] = field(default_factory=list)
    endpoints: list[Pod] = field(default_factory=list)
    refused: int = 0
    unserved: int = 0
    port: int = 0
    _turn: itertools.count[int] = field(default_factory=itertools.count)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, *pods: Pod) -> None:
        self.pods += pods

    def remove(self, pod: Pod) -> None:
        """Of a pod that has ended."""
        self.pods.remove(pod)

    async def watch(self) -> None:
        """Follow the pods' readiness, late, until cancelled."""
        last: list[Pod] | None = None
        changes: deque[tuple[float, list[Pod]]] = deque()
        while True:
            ready = [pod for pod in self.pods if pod.is_ready and not pod.is_terminating]
            now = time.monotonic()
            if ready != last:
                last = ready
                changes.append((now, ready))
            while changes and changes[0][0] <= now - self.delay_s:
                self.endpoints = changes.popleft()[1]
            await asyncio.sleep(0.02)

    async def leads_to(self, *pods: Pod, timeout_s: float = 60.0) -> None:
        """Wait until these are its endpoints."""
        async with asyncio.timeout(timeout_s):
            while {each.name for each in self.endpoints} != {each.name for each in pods}:
                await asyncio.sleep(0.02)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await self._connect()
            if far is None:
                writer.transport.abort()
                return
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_pass(reader, far[1]))
                    tasks.create_task(_pass(far[0], writer))
            finally:
                far[1].close()
        except* OSError:
            writer.transport.abort()  # one side broke it off, and the other one learns of it
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        if not self.endpoints:
            self.unserved += 1
            return None
        pod = self.endpoints[next(self._turn) % len(self.endpoints)]
        try:
            async with asyncio.timeout(_CONNECT_S):
                return await asyncio.open_connection(pod.address, self.port_of_pods)
        except OSError:  # a time-out is one too
            self.refused += 1
            return None


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the reader's side has no more to say; the writer's side is told."""
    while piece := await reader.read(_PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()


@asynccontextmanager
async def running_service(
    *pods: Pod, port: int, delay_s: float = _DELAY_S
) -> AsyncIterator[Service]:
    """A service before these pods, each of which listens on `port`; it leads to all of them."""
    service = Service(port, delay_s, list(pods))
    server = await asyncio.start_server(service.accept, "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    watching = asyncio.create_task(service.watch())
    try:
        await service.leads_to(*pods)
        yield service
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        server.close()
        await service.end()
