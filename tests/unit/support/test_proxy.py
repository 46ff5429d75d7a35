"""The proxy misbehaves as ordered, and only so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from support.proxy import Proxy, running_proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


class _Echo(asyncio.Protocol):
    """Answers with what it is sent."""

    def __init__(self, open_: set[asyncio.Transport]) -> None:
        self._open = open_
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self._transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self._transport)


@pytest_asyncio.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    """In front of a server that answers with what it is sent, on a unix socket."""
    served: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: _Echo(served), tmp_path / "echo.sock")
    async with running_proxy(tmp_path / "echo.sock") as proxy:
        yield proxy
    server.close()
    async with asyncio.timeout(5):
        while served:
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def connect(proxy: Proxy) -> AsyncIterator[Connect]:
    """Makes connections through the proxy, and closes them."""
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", proxy.port)
        opened.append(streams[1])
        return streams

    yield connect
    for writer in opened:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _exchange(streams: Streams, data: bytes) -> bytes:
    reader, writer = streams
    writer.write(data)
    async with asyncio.timeout(5):
        return await reader.readexactly(len(data))


async def _is_broken(streams: Streams) -> bool:
    try:
        async with asyncio.timeout(5):
            return await streams[0].read(1) == b""
    except ConnectionResetError:
        return True


async def test_it_passes_what_comes_and_closes_what_is_closed(
    proxy: Proxy, connect: Connect
) -> None:
    streams = await connect()
    data = bytes(range(256)) * 400
    assert await _exchange(streams, data) == data
    streams[1].write_eof()
    assert await streams[0].read() == b""
    assert proxy.resets == 0
    assert (proxy.up.passed_bytes, proxy.down.passed_bytes) == (len(data), len(data))


async def test_drop_breaks_what_is_open_and_refuses_what_comes(
    proxy: Proxy, connect: Connect
) -> None:
    before = await connect()
    await _exchange(before, b"x")
    proxy.drop()
    assert await _is_broken(before)
    assert await _is_broken(await connect())
    proxy.well()
    assert await _exchange(await connect(), b"y") == b"y"


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_stalled_direction_holds_everything_back_until_it_goes_on(
    proxy: Proxy, connect: Connect, direction: str
) -> None:
    streams = await connect()
    await _exchange(streams, b"x")
    flow = proxy.up if direction == "up" else proxy.down
    flow.stall()
    streams[1].write(b"y")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(streams[0].read(1), 0.2)
    other = proxy.down if direction == "up" else proxy.up
    assert not other.is_stalled
    assert proxy.up.passed_bytes == (1 if direction == "up" else 2)
    flow.resume()
    assert await streams[0].readexactly(1) == b"y"


@pytest.mark.parametrize("count", [0, 1, 20_000])
async def test_a_connection_is_reset_after_so_many_bytes(
    proxy: Proxy, connect: Connect, count: int
) -> None:
    streams = await connect()
    proxy.down.reset_after = count
    streams[1].write(b"z" * 40_000)
    received = 0
    try:
        async with asyncio.timeout(5):
            while data := await streams[0].read(4096):
                received += len(data)
    except ConnectionResetError:
        pass
    assert received <= count  # a reset may overtake bytes that were sent before it
    assert proxy.down.passed_bytes == count
    # Once only.
    assert await _exchange(await connect(), b"y" * 30_000) == b"y" * 30_000


async def test_delay_and_bandwidth_take_their_time(proxy: Proxy, connect: Connect) -> None:
    streams = await connect()
    proxy.up.delay_s = 0.1
    proxy.down.bytes_per_s = 100_000
    started = time.monotonic()
    await _exchange(streams, b"x" * 10_000)
    assert time.monotonic() - started >= 0.2
