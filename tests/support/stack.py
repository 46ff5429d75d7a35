"""Real parts wired together for tests: Redis, store, catalog, gateways, workers."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from redis.asyncio import Redis
from support.catalogs import new_catalog_file
from support.forked import ForkedProcess, start_forked
from support.redis import RedisHandle, running_redis
from support.store import StoreAddress, StoreHandle, running_store, shared_store

from penstock.wire import CONTENT_TYPE, join_batches
from penstock_common.http.auth import mint_key
from penstock_common.process.settings import GatewaySettings
from penstock_common.queue.redis_keys import SHARDS, RedisKeys
from penstock_server.gateway import build
from penstock_storage.catalog import SqlCatalog
from penstock_storage.clickhouse.client import ClickHouse
from penstock_storage.connect import open_catalog, open_points

__all__ = ["Stack", "Worker", "eventually", "running_stack"]


@dataclass
class Worker:
    """A worker process of its own, so that it can be killed."""

    process: ForkedProcess | asyncio.subprocess.Process

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 20)


@dataclass
class Stack:
    """Everything that runs. `urls` are the gateways'."""

    redis: RedisHandle
    queue: Redis
    store: StoreAddress
    catalog: SqlCatalog
    points: ClickHouse
    settings: dict[str, str]
    api_key: str
    session: aiohttp.ClientSession
    urls: list[str] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)

    @property
    def store_process(self) -> StoreHandle:
        """The store, if it is the stack's own."""
        assert isinstance(self.store, StoreHandle), "ask for `own_store=True`"
        return self.store

    async def start_worker(self, name: str = "", **extra: object) -> Worker:
        """Start a worker process; settings as keyword arguments. It commits often: tests read the store
        itself, and so nobody looks."""
        own = {"commit_rest_s": 0.2, **extra}
        environ = {**os.environ, **_environ(self.settings), **_environ(own)}
        if name:
            environ["PENSTOCK_WORKER_NAME"] = name
        worker = Worker(await start_forked("penstock_workers.main", environ))
        self.workers.append(worker)
        return worker

    async def post(
        self,
        *batches: bytes,
        gateway: int = 0,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Send encoded batches; returns (status, decoded answer)."""
        body = join_batches(batches)
        return await self.post_raw(body, gateway=gateway, headers=headers, query=query)

    async def post_raw(
        self,
        body: bytes,
        *,
        gateway: int = 0,
        content_type: str = CONTENT_TYPE,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        url = f"{self.urls[gateway]}/v1/batches"
        headers = {"Content-Type": content_type, **(headers or {})}
        async with self.session.post(
            url, data=io.BytesIO(body), headers=headers, params=query
        ) as reply:
            return reply.status, await reply.json()

    async def backlog(self) -> int:
        """Batches that are queued and not committed."""
        asked = self.queue.pipeline(transaction=False)
        for shard in range(SHARDS):
            asked.execute_command("XLEN", RedisKeys().stream(shard))
        return sum(await asked.execute())

    async def drained(self, timeout_s: float = 30.0) -> None:
        """Wait until everything queued is committed."""
        await eventually(self._is_drained, timeout_s)

    async def _is_drained(self) -> bool:
        return await self.backlog() == 0


async def eventually(check: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Wait until `check` (a coroutine function) says true. Fails the test if it never does."""
    async with asyncio.timeout(timeout_s):
        while not await check():
            await asyncio.sleep(0.02)


def _environ(settings: Mapping[str, object]) -> dict[str, str]:
    return {f"PENSTOCK_{name.upper()}": str(value) for name, value in settings.items()}


@asynccontextmanager
async def running_stack(
    path: Path,
    *,
    gateways: int = 1,
    workers: int = 1,
    catalog_folder: Path | None = None,
    own_store: bool = False,
    plain_store: bool = False,
    **settings: object,
) -> AsyncIterator[Stack]:
    """Redis, a store and a catalog below `path`; gateways in this process, workers in their own.

    `catalog_folder` is where the catalog lies if it has a place of its own. `own_store`: the store is
    below `path` too, and may be ended; `plain_store`: so it is, see `running_store`.
    """
    async with AsyncExitStack() as parts:
        redis = await parts.enter_async_context(running_redis(path))
        queue = redis.client()
        parts.push_async_callback(queue.aclose)
        is_own = own_store or plain_store
        store = await parts.enter_async_context(
            running_store(path, is_plain=plain_store) if is_own else shared_store()
        )
        shared = {
            "redis_url": redis.url,
            "store_url": store.url,
            "store_token": store.token,
            "catalog_url": await new_catalog_file((catalog_folder or path) / "catalog.db"),
            "blobs_url": str(path / "blobs"),
            "secret": secrets.token_hex(16),
        }
        catalog = open_catalog(shared["catalog_url"])
        parts.push_async_callback(catalog.close)
        key, text = mint_key("user", "local", frozenset({"read", "write"}), shared["secret"])
        await catalog.add_api_key(key, "test")
        points = open_points(store.url, store.token)
        parts.push_async_callback(points.close)
        await points.setup()
        session = await parts.enter_async_context(
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {text}"})
        )
        stack = Stack(redis, queue, store, catalog, points, shared, text, session)
        for _ in range(gateways):
            stack.urls.append(await parts.enter_async_context(_gateway(shared, settings)))
        for _ in range(workers):
            await stack.start_worker()
        try:
            yield stack
        finally:
            for worker in stack.workers:
                if worker.process.returncode is None:
                    await worker.stop()


@asynccontextmanager
async def _gateway(shared: dict[str, str], settings: dict[str, Any]) -> AsyncIterator[str]:
    stop = asyncio.Event()
    async with build(GatewaySettings(**{**shared, **settings}), stop) as (app, _):
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
