"""Clients that open connections and say nothing, or stop in mid-sentence: others are served on, and
each of the slow ones is gone by its deadline."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from support.gateways import Gateway, running_gateway
from support.stack import Stack, running_stack

from penstock.wire import CONTENT_TYPE, Batch, encode_batch

HEADERS, BODIES = 1_500, 500
MORE_MEMORY = 150 * 2**20

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def many_files() -> None:
    """This process holds the attackers' ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 2 * (HEADERS + BODIES):
        pytest.skip(f"the system allows {hard} open files")


async def attack(port: int, first: bytes, more: bytes) -> bytes:
    """Open a connection, send `first`, then `more` bit by bit; what the server said until it closed
    the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)

    async def trickle() -> None:
        for number in range(len(more)):
            writer.write(more[number : number + 1])
            await asyncio.sleep(0.4)

    trickling = asyncio.create_task(trickle())
    try:
        with contextlib.suppress(ConnectionError):
            return await reader.read()
        return b""
    finally:
        trickling.cancel()
        writer.transport.abort()


def slow_head(number: int) -> tuple[bytes, bytes]:
    """Nothing at all; half a request line; a header that never ends."""
    kinds = (b"", b"POST /v1/bat", b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nX-Long: ")
    return kinds[number % 3], b"" if number % 3 == 0 else b"a" * 1_000


def stalled_body(stack: Stack) -> bytes:
    return (
        f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Authorization: Bearer {stack.api_key}\r\nContent-Length: 1000\r\n\r\n"
    ).encode() + b"x" * 100


async def honest(stack: Stack, gateway: Gateway, stop: asyncio.Event) -> int:
    """Batches one after another; how many were taken. None may fail."""
    stack.urls[:] = [gateway.url]
    seq = 0
    while not stop.is_set():
        seq += 1
        batch = Batch(project="slow", run="honest", writer="w", seq=seq)
        async with asyncio.timeout(10):
            status, answer = await stack.post(encode_batch(batch))
        assert status == 202, answer
        await asyncio.sleep(0.01)
    return seq


async def test_slow_clients_are_closed_in_time_and_lock_nobody_out(tmp_path: Path) -> None:
    async with (
        running_stack(tmp_path, gateways=0, workers=0) as stack,
        running_gateway(stack, tmp_path / "g", header_timeout_s=5.0, body_timeout_s=5.0) as gateway,
    ):
        process, stop = psutil.Process(gateway.pid), asyncio.Event()
        before = process.memory_info().rss
        honesty = asyncio.create_task(honest(stack, gateway, stop))
        heads = [
            asyncio.create_task(attack(gateway.port, *slow_head(number)))
            for number in range(HEADERS)
        ]
        first = stalled_body(stack)
        bodies = [asyncio.create_task(attack(gateway.port, first, b"")) for _ in range(BODIES)]
        most = 0
        pending: set[asyncio.Task[bytes]] = {*heads, *bodies}
        # Each connection is closed after 5 s; opening all of them takes time, too.
        async with asyncio.timeout(75):
            while pending:
                _, pending = await asyncio.wait(pending, timeout=0.5)
                most = max(most, process.memory_info().rss)
        stop.set()
        assert await honesty > 50
        assert {head.result() for head in heads} == {b""}
        answers = {body.result().split(b"\r\n")[0] for body in bodies}
        assert answers == {b"HTTP/1.1 408 Request Timeout"}
        assert most - before < MORE_MEMORY
        name = 'penstock_http_connections_refused_total{reason="slow_header"}'
        assert await gateway.metric(name) == HEADERS
        assert await gateway.metric("penstock_http_connections") < 10


async def test_a_connection_that_asked_in_time_may_be_quiet_afterwards(tmp_path: Path) -> None:
    async with (
        running_stack(tmp_path, gateways=0, workers=0) as stack,
        running_gateway(stack, tmp_path / "g", header_timeout_s=0.5) as gateway,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        silent = asyncio.create_task(attack(gateway.port, b"", b""))
        for _ in range(2):
            writer.write(ask)
            assert (await reader.readuntil(b'{"status":"ok"}')).startswith(b"HTTP/1.1 200")
            assert await asyncio.wait_for(silent, 10) == b""  # its deadline has passed
        writer.close()


@contextlib.asynccontextmanager
async def guests(port: int, count: int) -> AsyncIterator[None]:
    """Connections that are let in and stay."""
    writers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b'{"status":"ok"}')
        writers.append(writer)
    try:
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


async def test_of_many_that_come_at_once_no_more_than_allowed_are_let_in(tmp_path: Path) -> None:
    async with (
        running_stack(tmp_path, gateways=0, workers=0) as stack,
        running_gateway(stack, tmp_path / "g", connections=20, body_timeout_s=1.0) as gateway,
    ):
        first = stalled_body(stack)
        for _ in range(2):  # those of the first time are no longer counted at the second
            answers = await asyncio.gather(*(attack(gateway.port, first, b"") for _ in range(100)))
            let_in = sum(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
            told = sum(b'"too_many_connections"' in answer for answer in answers)
            assert 0 < let_in <= 20
            assert let_in + told == 100


async def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    async with (
        running_stack(tmp_path, gateways=0, workers=0) as stack,
        running_gateway(stack, tmp_path / "g", connections=20) as gateway,
    ):
        async with guests(gateway.port, 20):
            answers = await asyncio.gather(
                *(attack(gateway.port, stalled_body(stack), b"") for _ in range(50))
            )
            for answer in answers:
                head, _, body = answer.partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 503 "), answer
                assert b"\r\nRetry-After: " in head
                assert b'"too_many_connections"' in body
            silent = await asyncio.gather(*(attack(gateway.port, b"", b"") for _ in range(5)))
            assert silent == [b""] * 5
        async with asyncio.timeout(10):
            while (await gateway.readyz())[0] != 200:
                await asyncio.sleep(0.02)
        name = 'penstock_http_connections_refused_total{reason="full"}'
        assert await gateway.metric(name) >= 55
