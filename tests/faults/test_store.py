"""The store killed, and its answers lost, each under load: the ledger is the judge."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from benchmarks.generate import Shape
from support.stack import Stack, running_stack
from support.steady import Steady
from support.workers import metrics_of

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy, pytest.mark.timeout(150)
]  # fmt: skip

SHAPE = Shape(runs=4, keys=5, rows=50, writers=2, seed=5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(
        tmp_path_factory.mktemp("stack"), own_store=True, workers=0
    ) as running:
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def no_worker_left(stack: Stack) -> AsyncIterator[None]:
    """The worker of a test that failed would commit what the next one sends, or own its shards."""
    yield
    for worker in stack.workers:
        if worker.process.returncode is None:
            await worker.kill()


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ps-") as folder:
        yield Path(folder) / "metrics"


class LossyStore:
    """In front of a store: of the inserts, the third and then every `every`th is lost, either before the
    store sees it or after it has answered. `delay_s` holds every insert up."""

    def __init__(self, stack: Stack, *, every: int = 0, after: bool = False, delay_s: float = 0.0):
        self._stack = stack
        self._every = every
        self._after = after
        self._delay_s = delay_s
        self._inserts = 0
        self.lost = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        is_insert = request.query.get("query", "").startswith("INSERT")
        self._inserts += is_insert
        # A commit is more than three inserts, and the whole load may be one commit.
        is_lost = is_insert and self._every > 0 and self._inserts % self._every == 3
        self.lost += is_lost
        if is_insert:
            await asyncio.sleep(self._delay_s)
        if not is_lost:
            return await self._forward(request, body)
        if self._after:
            await self._forward(request, body)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        path = self._stack.store.url.removeprefix("unix://")
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session,
            session.request(
                request.method, "http://store/", params=request.query, data=io.BytesIO(body),
                headers={k: v for k, v in request.headers.items() if k.startswith("X-")},
            ) as reply,
        ):  # fmt: skip
            headers = {k: v for k, v in reply.headers.items() if k.startswith("X-")}
            return web.Response(body=await reply.read(), status=reply.status, headers=headers)


@asynccontextmanager
async def serving(lossy: LossyStore) -> AsyncIterator[str]:
    """Its URL."""
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/", lossy.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_killed_and_started_again(stack: Stack, socket: Path) -> None:
    """S3: the store is killed with -9 three times under load, and started again."""
    steady = Steady(stack, SHAPE, "killed", batches=60)
    worker = await stack.start_worker(metrics_socket=socket)
    sending = asyncio.create_task(steady.send())
    for _ in range(3):
        await until_inserting(stack)
        await stack.store_process.kill()
        await stack.store_process.start_again()
    await sending
    await steady.check()
    assert (await metrics_of(socket))["penstock_worker_errors_total", "store"] > 0
    assert await worker.stop() == 0


async def until_inserting(stack: Stack) -> None:
    """Wait until a commit reaches the store."""

    async def parts() -> int:
        found = await stack.points.query(
            "SELECT sum(value) AS n FROM system.events WHERE event = 'InsertedRows'"
        )
        return int(found["n"][0])

    before = await parts()
    async with asyncio.timeout(20):
        while await parts() == before:
            await asyncio.sleep(0)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_inserts_are_lost(stack: Stack, socket: Path, after: bool) -> None:
    """S2: one insert in ten fails before or after the store has it."""
    steady = Steady(stack, SHAPE, f"lost-{after}", batches=40)
    lossy = LossyStore(stack, every=10, after=after)
    async with serving(lossy) as url:
        worker = await stack.start_worker(store_url=url, metrics_socket=socket)
        await steady.send()
        await steady.check()
        assert lossy.lost > 0
        assert (await metrics_of(socket))["penstock_worker_errors_total", "store"] > 0
        assert await worker.stop() == 0


async def test_slow(stack: Stack) -> None:
    """S1: every insert takes a second more; what waits is bounded by what is sent."""
    steady = Steady(stack, SHAPE, "slow", batches=30)
    async with serving(LossyStore(stack, delay_s=1.0)) as url:
        worker = await stack.start_worker(store_url=url)
        await steady.send()
        await steady.check()
        assert await worker.stop() == 0
