"""A stack whose every link goes through a proxy: client to gateway, gateway to Redis, worker to Redis
and worker to store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from support.proxy import Proxy, running_proxy
from support.stack import Stack, running_stack

__all__ = ["LinkedStack", "linked_stack"]


@dataclass
class LinkedStack:
    """`queue` is where the gateway finds Redis, `jobs` where the worker does."""

    stack: Stack
    client: Proxy
    queue: Proxy
    jobs: Proxy
    store: Proxy

    def well(self) -> None:
        for proxy in (self.client, self.queue, self.jobs, self.store):
            proxy.well()


@asynccontextmanager
async def linked_stack(path: Path, seed: int = 1) -> AsyncIterator[LinkedStack]:
    async with AsyncExitStack() as parts:
        nowhere = path / "nowhere"
        client, queue, jobs, store = [
            await parts.enter_async_context(running_proxy(nowhere, seed)) for _ in range(4)
        ]
        stack = await parts.enter_async_context(
            running_stack(path, workers=0, redis_url=queue.redis_url, queue_timeout_s=1.0)
        )
        client.target = stack.urls[0]
        queue.target = jobs.target = stack.redis.url
        store.target = stack.store.url
        await stack.start_worker(lease_s=2.0, redis_url=jobs.redis_url, store_url=store.url)
        yield LinkedStack(stack, client, queue, jobs, store)
        # What stops needs its links.
        for proxy in (client, queue, jobs, store):
            proxy.well()
