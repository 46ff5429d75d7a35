"""Gateway processes of their own, so that they can be told to leave, killed, and attacked."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from support.forked import ForkedProcess, start_forked
from support.stack import Stack, eventually

__all__ = ["Gateway", "free_port", "running_gateway"]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Gateway:
    """A gateway process on a port that it keeps when it is started again."""

    environ: Mapping[str, str]
    port: int
    failpoints: Path
    process: ForkedProcess | None = None
    ended: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        self.process = await start_forked("penstock_server.gateway", self.environ)
        await eventually(self.is_ready, 20)

    async def is_ready(self) -> bool:
        assert self.process is None or self.process.returncode is None, "the gateway ended"
        return (await self.readyz())[0] == 200

    async def readyz(self) -> tuple[int, dict[str, Any]]:
        """Status and body of /readyz; 0 if nobody answers."""
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{self.url}/readyz") as reply:
                    return reply.status, await reply.json()
            except aiohttp.ClientError:
                return 0, {}

    async def metric(self, name: str) -> float:
        """The value of one series of /metrics, named with its labels."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as reply:
            lines = (await reply.text()).splitlines()
        return next(float(line.split(" ")[-1]) for line in lines if line.startswith(f"{name} "))

    def arm(self, name: str, what: str) -> None:
        """Let the process fail at a place: see `penstock.failpoints`."""
        (self.failpoints / name).write_text(what)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def wait(self) -> int:
        """Its exit status."""
        assert self.process is not None
        status = await asyncio.wait_for(self.process.wait(), 30)
        self.ended.append(status)
        return status

    async def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return await self.wait()


@asynccontextmanager
async def running_gateway(
    stack: Stack, folder: Path, *, start: bool = True, **settings: object
) -> AsyncIterator[Gateway]:
    """A gateway process over a stack's Redis, store and catalog; settings as keyword arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    fixed = {**stack.settings, "port": port, **settings}
    environ = {
        **{name: text for name, text in os.environ.items() if not name.startswith("PENSTOCK_")},
        **{f"PENSTOCK_{name.upper()}": str(value) for name, value in fixed.items()},
        "PENSTOCK_FAILPOINTS": str(folder),
    }
    gateway = Gateway(environ, port, folder)
    try:
        if start:
            await gateway.start()
        yield gateway
    finally:
        if gateway.process is not None and gateway.process.returncode is None:
            gateway.signal(signal.SIGCONT)
            gateway.signal(signal.SIGKILL)
            await gateway.process.wait()
