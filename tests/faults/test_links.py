"""Links that lose, delay, break and stall: rows G3 and N1.

Whether a request happened cannot be known when its answer is lost; that the same number goes out
again with the same bytes, and is stored once, is what makes that harmless.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio
from support.faultload import FaultLoad, fault_load
from support.links import LinkedStack, linked_stack
from support.proxy import Proxy

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(150),
    pytest.mark.asyncio(loop_scope="module"),
]

_LINKS = ["client", "queue", "jobs", "store"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def linked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LinkedStack]:
    async with linked_stack(tmp_path_factory.mktemp("stack")) as linked:
        yield linked


def load_on(linked: LinkedStack, folder: Path) -> AbstractAsyncContextManager[FaultLoad]:
    stack = linked.stack
    store = stack.store
    return fault_load(linked.client.url, stack.api_key, store.url, store.token, folder)


async def judge(load: FaultLoad, row: Callable[[str], None], note: str = "") -> None:
    found = await load.settle()
    row(load.report + note)
    assert found.is_clean, str(found)
    assert found.points > 10_000


def proxy_of(linked: LinkedStack, link: str) -> Proxy:
    proxy = getattr(linked, link)
    assert isinstance(proxy, Proxy)
    return proxy


async def test_replies_lost(
    linked: LinkedStack, tmp_path: Path, row: Callable[[str], None]
) -> None:
    """G3: the gateway's reply is lost, 40 times."""
    async with load_on(linked, tmp_path) as load:
        before = await duplicates(linked)
        for _ in range(40):
            linked.client.down.reset_after = 0
            await asyncio.wait_for(linked.client.down.broken(), 30)
            await asyncio.sleep(0.02)  # others may be on their way already
        await load.flowing()
        await judge(load, row)
        assert await duplicates(linked) > before  # sent again though queued, and stored once
    assert load.generated.broken > 0


async def test_connections_reset_midway(
    linked: LinkedStack, tmp_path: Path, row: Callable[[str], None]
) -> None:
    """G3: connections are reset after n bytes of requests, or of replies, n drawn 60 times."""
    rng = random.Random(11)
    async with load_on(linked, tmp_path) as load:
        for _ in range(60):
            flow = rng.choice([linked.client.up, linked.client.down])
            flow.reset_after = rng.choice([rng.randrange(300), rng.randrange(20_000)])
            await asyncio.wait_for(flow.broken(), 30)
        await load.flowing()
        await judge(load, row)
    assert load.generated.broken > 0


async def test_replies_delayed(
    linked: LinkedStack, tmp_path: Path, row: Callable[[str], None]
) -> None:
    """G3: replies come later than the client waits, and it repeats."""
    async with load_on(linked, tmp_path) as load:
        load.generated.timeout_s = 1.0
        linked.client.down.stall()
        await asyncio.sleep(3)
        linked.client.well()
        await load.flowing()
        await judge(load, row)


@pytest.mark.parametrize("link", _LINKS)
async def test_delay(
    linked: LinkedStack, tmp_path: Path, row: Callable[[str], None], link: str
) -> None:
    """N1: 100 ms ± 100 on the link."""
    proxy = proxy_of(linked, link)
    async with load_on(linked, tmp_path) as load:
        for flow in (proxy.up, proxy.down):
            flow.delay_s = flow.jitter_s = 0.1
        await asyncio.sleep(2)
        linked.well()
        await load.flowing()
        await judge(load, row)


@pytest.mark.parametrize("link", _LINKS)
async def test_resets(
    linked: LinkedStack, tmp_path: Path, row: Callable[[str], None], link: str
) -> None:
    """N1: every connection of the link is reset, 20 times in 2 s."""
    proxy = proxy_of(linked, link)
    async with load_on(linked, tmp_path) as load:
        before = proxy.resets
        for _ in range(20):
            await asyncio.sleep(0.1)
            proxy.reset_all()
        linked.well()
        assert proxy.resets > before
        await load.flowing()
        await judge(load, row)


@pytest.mark.parametrize("link", _LINKS)
async def test_bandwidth(
    linked: LinkedStack, tmp_path: Path, row: Callable[[str], None], link: str
) -> None:
    """N1: 64 KiB/s on the link for 2 s."""
    proxy = proxy_of(linked, link)
    async with load_on(linked, tmp_path) as load:
        proxy.up.bytes_per_s = proxy.down.bytes_per_s = 65_536
        await asyncio.sleep(2)
        linked.well()
        await load.flowing()
        await judge(load, row)


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("link", _LINKS)
async def test_one_way_stall(
    linked: LinkedStack,
    tmp_path: Path,
    row: Callable[[str], None],
    link: str,
    direction: str,
) -> None:
    """N1: one direction of the link stalls for 3 s."""
    proxy = proxy_of(linked, link)
    async with load_on(linked, tmp_path) as load:
        flow = proxy.up if direction == "up" else proxy.down
        flow.stall()
        await asyncio.sleep(3)
        linked.well()
        await load.flowing()
        await judge(load, row)


async def duplicates(linked: LinkedStack) -> float:
    """Batches that the gateway knew already."""
    async with linked.stack.session.get(f"{linked.stack.urls[0]}/metrics") as reply:
        text = await reply.text()
    (line,) = [x for x in text.splitlines() if 'batches_total{outcome="duplicate"}' in x]
    return float(line.rpartition(" ")[2])
