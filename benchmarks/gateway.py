"""P6: batches per second that one gateway process accepts, compared with aiohttp alone."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import uvloop
from aiohttp import web

from benchmarks.generate import Shape, batch_bytes, plans
from benchmarks.report import Row
from benchmarks.stack import running
from penstock.wire import join_batches

__all__ = ["SIZES", "accepted_rate", "rows"]

_TARGET = 8_000
_FIRST_SEQ = 100_000
SIZES = (
    (1, Shape(runs=32, keys=10, rows=8)),
    (64, Shape(runs=32, keys=100, rows=78)),
    (8, Shape(runs=32, keys=100, rows=10)),
)


class _Sender(asyncio.Protocol):
    """Sends one request after another on one connection; answers are counted, not parsed."""

    def __init__(self, head: bytes, body: bytes, until: float) -> None:
        self._until = until
        self.answered = 0
        self.refused = 0
        self.done = asyncio.get_running_loop().create_future()
        # Numbers from 65,536 on take five bytes, so that one can be written over another.
        self._request = bytearray(head + body)
        self._seq_at = self._request.index(b"\xa3seq\xce") + 5
        self._seq = _FIRST_SEQ

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self.answered += 1
        self.refused += not data.startswith((b"HTTP/1.1 202", b"HTTP/1.1 200"))
        if time.monotonic() < self._until:
            self._send()
        elif not self.done.done():
            self._transport.close()
            self.done.set_result(None)

    def _send(self) -> None:
        struct.pack_into(">I", self._request, self._seq_at, self._seq)
        self._seq += 1
        self._transport.write(bytes(self._request))


def _same(sender: _Sender) -> _Sender:
    return sender


async def accepted_rate(url: str, key: str, shape: Shape, seconds: float) -> float:
    """Batches per second, over a connection for each run of the shape."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    until = time.monotonic() + seconds
    senders = []
    started = time.monotonic()
    for plan in plans(shape):
        raw = batch_bytes(shape, plan, _FIRST_SEQ, project="gateway")
        body = join_batches([raw])
        head = (
            f"POST /v1/batches HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/msgpack\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        sender = _Sender(head, body, until)
        await loop.create_connection(partial(_same, sender), parts.hostname or "", parts.port or 80)
        senders.append(sender)
    await asyncio.gather(*(sender.done for sender in senders))
    took_s = time.monotonic() - started
    if any(sender.refused for sender in senders):
        raise RuntimeError("the gateway refused batches")
    return sum(sender.answered for sender in senders) / took_s


def _gateway_rate(shape: Shape, seconds: float) -> float:
    """The worker is paused: this measures the gateway and Redis."""
    with running() as stack:
        worker = stack.children["worker"][0]
        os.kill(worker, signal.SIGSTOP)
        try:
            return uvloop.run(accepted_rate(stack.url, stack.api_key, shape, seconds))
        finally:
            os.kill(worker, signal.SIGCONT)


def _aiohttp_rate(shape: Shape, seconds: float) -> float:
    """The limit: a server of the same kind that only reads the body and answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gateway"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        return uvloop.run(accepted_rate(f"http://127.0.0.1:{port}", "none", shape, seconds))
    finally:
        process.terminate()
        process.wait(10)


async def _serve_nothing() -> None:
    app = web.Application(client_max_size=16 * 2**20)

    async def post(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"queued": 1})

    app.router.add_post("/v1/batches", post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def rows(seconds: float) -> Iterator[Row]:
    """P6 at three sizes of batches; the target is judged at 8 KB. The median of three rounds, each
    short enough that Redis, which is not drained meanwhile, does not start to rewrite its file."""
    seconds = min(seconds, 3.0)
    for size, shape in SIZES:
        limit = statistics.median(_aiohttp_rate(shape, seconds) for _ in range(3))
        rate = statistics.median(_gateway_rate(shape, seconds) for _ in range(3))
        is_judged = size == 8
        yield Row(
            "P6",
            f"one gateway process, batches of {size} KB, one per request",
            f"{rate:,.0f} batches/s",
            "≥ 8,000/s" if is_judged else "",
            f"aiohttp alone {limit:,.0f}/s, ratio {rate / limit:.2f}",
            rate >= _TARGET if is_judged else None,
        )


if __name__ == "__main__":
    uvloop.run(_serve_nothing())
