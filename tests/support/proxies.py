"""A real HTTP proxy and a real TLS front, on loopback, for the client's tests.

The proxy resolves names itself: every name leads to 127.0.0.1, so that a test can use a host name
that only the proxy knows. It asks for credentials if it is given some.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ["Proxy", "serve_proxy", "serve_tls", "serving"]

_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Proxy:
    """`seen` are the first lines of the requests it let through, `refused` of the others."""

    port: int = 0
    credentials: str | None = None
    seen: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *headers = head.decode().split("\r\n")
        if self.credentials is not None:
            wanted = base64.b64encode(self.credentials.encode()).decode()
            if f"Proxy-Authorization: Basic {wanted}" not in headers:
                self.refused.append(first)
                writer.write(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n"
                    b"Connection: close\r\n\r\n"
                )
                await writer.drain()
                return
        self.seen.append(first)
        method, target, _ = first.split(" ", 2)
        if method == "CONNECT":
            port = int(target.rpartition(":")[2])
            rest = b""
        else:
            url = urlsplit(target)
            port = url.port or 80
            path = f"{url.path}?{url.query}" if url.query else url.path
            kept = [line for line in headers if not line.lower().startswith("proxy-")]
            # One request per connection: the next may have another target.
            lines = [first.replace(target, path), "Connection: close", *kept]
            rest = "\r\n".join(lines).encode()
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            if rest:
                back.write(rest)
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        finally:
            back.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    # Half a connection ended: the other half has nobody to talk to.
    writer.close()


@contextmanager
def serve_proxy(credentials: str | None = None) -> Iterator[Proxy]:
    proxy = Proxy(credentials=credentials)
    with serving(proxy.handle, None) as port:
        proxy.port = port
        yield proxy


@contextmanager
def serve_tls(context: ssl.SSLContext, port_behind: int) -> Iterator[int]:
    """The port of a TLS front before a plain server."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port_behind)
        try:
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        finally:
            back.close()

    with serving(handle, context) as port:
        yield port


@contextmanager
def serving(handler: _Handler, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server with this handler, on loopback and in a thread of its own."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    ports: list[int] = []
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
                await handler(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()
        await ended.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    ended = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()
