"""A steady load of batches that are known in advance, sent until each is queued; the ledger of
`benchmarks` then says what became of them."""

from __future__ import annotations

import asyncio

import aiohttp
from benchmarks import ledger
from benchmarks.generate import Shape, WriterPlan, batch_bytes, plans
from support.stack import Stack

__all__ = ["Steady"]


class Steady:
    """`batches` of each writer of `shape`, spread over about `seconds`."""

    def __init__(
        self, stack: Stack, shape: Shape, project: str, *, batches: int, seconds: float = 2.0
    ) -> None:
        self._stack = stack
        self._shape = shape
        self._project = project
        self._batches = batches
        self._pause_s = seconds / batches

    async def send(self) -> None:
        """All of it. Refused batches are sent again, as a client does."""
        async with asyncio.TaskGroup() as writers:
            for plan in plans(self._shape):
                writers.create_task(self._send(plan))

    async def _send(self, plan: WriterPlan) -> None:
        for seq in range(1, self._batches + 1):
            raw = batch_bytes(self._shape, plan, seq, project=self._project)
            while not await self._is_queued(raw):
                await asyncio.sleep(self._pause_s)
            await asyncio.sleep(self._pause_s)

    async def _is_queued(self, raw: bytes) -> bool:
        try:
            status, _ = await self._stack.post(raw)
        except aiohttp.ClientError:
            return False
        return status == 202

    async def check(self) -> None:
        """Wait until all is committed; the store then holds each point once, as it was sent."""
        await self._stack.drained(60)
        store, sent = self._stack.store, dict.fromkeys(plans(self._shape), self._batches)
        found = await ledger.check(store.url, store.token, self._shape, sent, self._project)
        assert found.is_clean, str(found)
        assert found.points > 0
