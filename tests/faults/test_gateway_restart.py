"""Three gateways restarted in turn under load, as a rolling update does it: no request fails.

The clients do what a load balancer and a polite client do together: they go to a gateway whose
/readyz said yes when last asked, and knock once more elsewhere where a connection is refused.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from benchmarks import ledger
from benchmarks.generate import Shape, WriterPlan, batch_bytes, plans
from support.gateways import Gateway, running_gateway
from support.stack import Stack, eventually, running_stack

from penstock.wire import CONTENT_TYPE, join_batches

SHAPE = Shape(runs=8, keys=5, rows=20)
PROJECT = "rolling"
PRE_STOP_S = 1.0

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]


class Balancer:
    """Sends each request to the next gateway that was ready when last looked at."""

    def __init__(self, session: aiohttp.ClientSession, gateways: list[Gateway]) -> None:
        self._session = session
        self._gateways = gateways
        self._turn = itertools.count()
        self.ready = list(gateways)
        self.counts: Counter[str] = Counter()

    async def look(self) -> None:
        """Keep `ready` up to date until cancelled."""
        while True:
            answers = await asyncio.gather(*(each.readyz() for each in self._gateways))
            self.ready = [
                each
                for each, (status, _) in zip(self._gateways, answers, strict=True)
                if status == 200
            ]
            await asyncio.sleep(0.05)

    async def post(self, raw: bytes) -> None:
        for is_last in (False, True):
            gateway = self.ready[next(self._turn) % len(self.ready)]
            try:
                return await self._post(gateway, raw)
            except aiohttp.ClientConnectorError:
                self.counts["refused"] += 1
                assert not is_last
                await asyncio.sleep(0.1)

    async def _post(self, gateway: Gateway, raw: bytes) -> None:
        url, headers = f"{gateway.url}/v1/batches", {"Content-Type": CONTENT_TYPE}
        async with self._session.post(url, data=join_batches([raw]), headers=headers) as reply:
            assert reply.status == 202, await reply.text()
            if reply.headers.get("Connection", "").lower() == "close":
                self.counts["told to leave"] += 1
        self.counts["sent"] += 1


async def write(balancer: Balancer, plan: WriterPlan, stop: asyncio.Event) -> int:
    """One writer, batch after batch; how many it sent."""
    for seq in itertools.count(1):
        if stop.is_set():
            return seq - 1
        await balancer.post(batch_bytes(SHAPE, plan, seq, project=PROJECT))
        await asyncio.sleep(0.02)
    raise AssertionError


async def restart(gateway: Gateway) -> None:
    gateway.signal(signal.SIGTERM)

    async def is_leaving() -> bool:
        status, answer = await gateway.readyz()
        return status == 503 and answer["draining"]

    await eventually(is_leaving)  # told at once, while it serves on
    assert await gateway.wait() == 0
    await gateway.start()


async def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    async with (
        running_stack(tmp_path, gateways=0) as stack,
        running_gateway(stack, tmp_path / "a", pre_stop_s=PRE_STOP_S) as one,
        running_gateway(stack, tmp_path / "b", pre_stop_s=PRE_STOP_S) as two,
        running_gateway(stack, tmp_path / "c", pre_stop_s=PRE_STOP_S) as three,
    ):
        gateways = [one, two, three]
        balancer, stop = Balancer(stack.session, gateways), asyncio.Event()
        looking = asyncio.create_task(balancer.look())
        try:
            writers = {
                plan: asyncio.create_task(write(balancer, plan, stop)) for plan in plans(SHAPE)
            }
            for gateway in gateways:
                await restart(gateway)
            stop.set()
            sent = {plan: await writer for plan, writer in writers.items()}
        finally:
            looking.cancel()
        assert [each.ended for each in gateways] == [[0], [0], [0]]
        assert balancer.counts["sent"] == sum(sent.values()) > 100
        await stack.drained()
        found = await ledger.check(stack.store.url, stack.store.token, SHAPE, sent, PROJECT)
        assert found.is_clean, str(found)


async def told_to_leave(stack: Stack, gateway: Gateway) -> bool:
    """Whether a request's answer ends its connection."""
    async with stack.session.get(f"{gateway.url}/healthz") as reply:
        return reply.headers.get("Connection", "").lower() == "close"


async def test_leaving_ends_connections_and_finishes_what_is_open(tmp_path: Path) -> None:
    raw = batch_bytes(SHAPE, WriterPlan(0, 0), 1, project="slow")
    body = join_batches([raw])
    head = (
        f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    async with (
        running_stack(tmp_path, gateways=0, workers=0) as stack,
        running_gateway(stack, tmp_path / "a", pre_stop_s=1.0, drain_s=10.0) as gateway,
    ):
        assert not await told_to_leave(stack, gateway)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"{head}Authorization: Bearer {stack.api_key}\r\n\r\n".encode())
        writer.write(body[:50])
        await writer.drain()

        async def is_open() -> bool:
            return await gateway.metric("penstock_ingest_body_bytes_in_flight") == len(body)

        await eventually(is_open)
        gateway.signal(signal.SIGTERM)

        async def is_told() -> bool:
            return await told_to_leave(stack, gateway)

        async def is_closed() -> bool:
            return (await gateway.readyz())[0] == 0

        await eventually(is_told)
        await eventually(is_closed)
        writer.write(body[50:])
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 202 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert await gateway.wait() == 0
        assert await stack.backlog() == 1
