"""Workers that die and are started again, as an operator's supervisor does, and what they report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from support.stack import Stack, Worker

__all__ = ["Kept", "kept_worker", "metrics_at", "metrics_of"]


class Kept:
    """A worker that is started again whenever it ends by itself. `codes` are its exit statuses."""

    def __init__(self, stack: Stack, settings: dict[str, object]) -> None:
        self._stack = stack
        self._settings = settings
        self.codes: list[int] = []
        self.worker: Worker | None = None

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            self.worker = await self._stack.start_worker("kept", **self._settings)
            self.codes.append(await self.worker.process.wait())


@asynccontextmanager
async def kept_worker(stack: Stack, **settings: object) -> AsyncIterator[Kept]:
    """A worker under one name, kept running for as long as the block lasts."""
    kept = Kept(stack, settings)
    keeping = asyncio.create_task(kept.keep())
    try:
        yield kept
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        if kept.worker is not None and kept.worker.process.returncode is None:
            await kept.worker.stop()


async def metrics_of(socket: Path) -> dict[tuple[str, str], float]:
    """(name, value of its first label or '') -> value, of a process that serves its metrics on this
    socket; empty while it does not answer."""
    connector = aiohttp.UnixConnector(str(socket))
    try:
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://worker/metrics") as reply,
        ):
            text = await reply.text()
    except (aiohttp.ClientError, OSError):
        return {}
    return _series(text)


async def metrics_at(url: str) -> dict[tuple[str, str], float]:
    """The same, from an address."""
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        return _series(await reply.text())


def _series(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
