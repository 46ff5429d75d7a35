"""A whole gateway process behind raw sockets: whatever is sent, it answers below 500 (or 503) in time,
lives on, takes no memory for it, and serves the next honest request."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import psutil
import pytest
import pytest_asyncio
from support.fuzzing import cases, corpus, kept, source
from support.hostile import Hostile, mutated
from support.smuggling import REQUESTS, filled
from support.stack import Stack, running_stack

from penstock.wire import Batch, Frame, encode_batch, join_batches

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy, pytest.mark.smoke]

BODY_TIMEOUT_S = 0.5
ANSWER_S = 10.0
GROWTH_BYTES = 50 * 2**20
_FRAME = Frame(["a"], bytes(8), bytes(8), bytes(8))
BATCH = join_batches([encode_batch(Batch("smuggled", "r", "w", 1, frames=[_FRAME]))])
_INNER_ANSWER = 200
_LATEST = b"DELETE /v1/latest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@dataclass
class Gateway:
    """A gateway process and what is needed to talk to it."""

    port: int
    key: str
    process: asyncio.subprocess.Process

    @property
    def rss_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    path = tmp_path_factory.mktemp("gateway")
    async with running_stack(path, gateways=0, workers=0) as stack:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        with listener, (path / "log").open("wb") as log:
            process = await start(stack, listener, log.fileno())
            running = Gateway(listener.getsockname()[1], stack.api_key, process)
            try:
                for _ in range(20):  # what the first requests load is no growth
                    assert await honest(running) == 202
                yield running
            finally:
                process.terminate()
                await asyncio.wait_for(process.wait(), 20)
            text = (path / "log").read_text(errors="replace")
            assert "request_failed" not in text, text[-5_000:]


async def start(stack: Stack, listener: socket.socket, log: int) -> asyncio.subprocess.Process:
    settings = {**stack.settings, "body_timeout_s": str(BODY_TIMEOUT_S)}
    environ = {f"PENSTOCK_{name.upper()}": value for name, value in settings.items()}
    fd = listener.fileno()
    environ["PENSTOCK_LISTEN_FD"] = str(fd)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock_server.gateway",
        env={**os.environ, **environ}, pass_fds=(fd,), stdout=log, stderr=log,
    )  # fmt: skip


async def exchange(
    gateway: Gateway, raw: bytes, *, wait_s: float = ANSWER_S, follow: bytes = b""
) -> tuple[list[int], bool]:
    """Send these bytes; the statuses that come back, and whether the server ended the connection.

    `follow` is sent after them, a request that ends the connection: then all answers are seen.
    Without it, waits for one answer.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    statuses: list[int] = []
    is_closed = False
    try:
        with suppress(ConnectionError):
            writer.write(raw + follow)
            await writer.drain()
        async with asyncio.timeout(wait_s):
            while follow or not statuses:
                status = await read_answer(reader, is_head=raw.startswith(b"HEAD"))
                if status is None:
                    is_closed = True
                    break
                if status >= 200 or status == 101:
                    statuses.append(status)
    except TimeoutError:
        pass
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return statuses, is_closed


async def read_answer(reader: asyncio.StreamReader, *, is_head: bool) -> int | None:
    """The status of the next answer; None if the connection ended before it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        assert head.startswith(b"HTTP/"), head
        if is_head or status in (101, 204, 304) or status < 200:
            return status
        if length := re.search(rb"(?i)\r\ncontent-length: (\d+)", head):
            await reader.readexactly(int(length[1]))
        else:
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                await reader.readexactly(size + 2)
            await reader.readuntil(b"\r\n")
        return status
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def honest(gateway: Gateway) -> int:
    """The status of a request as clients send it."""
    statuses, _ = await exchange(gateway, filled(REQUESTS["honest"][0], gateway.key, BATCH))
    return statuses[0] if statuses else 0


def is_fine(status: int) -> bool:
    return status < 500 or status == 503


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_of_the_corpus(gateway: Gateway, name: str) -> None:
    raw, expected = REQUESTS[name]
    raw = filled(raw, gateway.key, BATCH)
    if expected == "waits":
        assert await exchange(gateway, raw, wait_s=0.2) == ([], False)
    elif expected == "ignored":
        statuses, _ = await exchange(gateway, raw)
        assert len(statuses) == 1
        assert is_fine(statuses[0])
    else:
        statuses, is_closed = await exchange(gateway, raw, follow=_LATEST)
        assert is_closed
        assert all(map(is_fine, statuses)), statuses
        match expected:
            case "refused":
                assert len(statuses) == 1, statuses
                assert 400 <= statuses[0] < 500
                # Alone, too: it was not what followed that was refused.
                alone, _ = await exchange(gateway, raw, wait_s=0.3)
                assert all(400 <= status < 500 for status in alone), alone
            case "queued":
                assert statuses[0] == 202, statuses
            case "two":
                assert len(statuses) == 3, statuses
                assert statuses[1] == _INNER_ANSWER
            case _:
                assert 1 <= len(statuses) <= 2, statuses
    assert await honest(gateway) == 202


async def test_a_body_that_stalls_is_ended(gateway: Gateway) -> None:
    raw = filled(REQUESTS["half a body"][0], gateway.key, BATCH)
    assert (await exchange(gateway, raw))[0] == [408]
    assert await honest(gateway) == 202


def may_wait(raw: bytes) -> bool:
    """Whether a server may wait for more after these bytes: no end of the head, or of the body."""
    head, end, body = raw.lstrip(b"\r\n").partition(b"\r\n\r\n")
    lengths = re.findall(rb"(?i)content-length[^\r\n]*?(\d+)", head)
    if head.startswith(b"PRI "):  # the preface of HTTP/2, which ends later
        return True
    return not end or b"chunked" in head.lower() or any(int(n) > len(body) for n in lengths)


class Requests:
    """Requests at random: seeds with a few bytes changed, in the head, in the body, or in both."""

    def __init__(self, rng: random.Random, key: str) -> None:
        self.rng = rng
        self.hostile = Hostile(rng)
        self.seeds = [filled(raw, key, BATCH) for raw, _ in REQUESTS.values()]
        rows = b'{"project": "p", "run": "r", "rows": [{"step": 0, "loss": 0.5}]}'
        self.seeds += [
            filled(
                b"%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer @KEY\r\n%s\r\n" % (line, rest),
                key,
                BATCH,
            )
            for line, rest in (
                (b"GET /v1/projects", b""),
                (b"GET /v1/runs/local/p/r", b""),
                (b"GET /v1/runs/local/p/r/history?keys=a&min_step=0", b""),
                (b"GET /v1/writers/-/smuggled/r/w", b""),
                (b"GET /metrics", b""),
                (b"HEAD /", b""),
                (
                    b"POST /v1/runs",
                    b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
                ),
            )
        ]
        self.post_rows = filled(
            b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer @KEY\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(rows) + rows,
            key, BATCH,
        )  # fmt: skip
        self.seeds.append(self.post_rows)
        self.key = key

    def next(self) -> bytes:
        rng = self.rng
        kind = rng.randrange(8)
        if kind == 0:
            return rng.randbytes(rng.randrange(1, 300)) + b"\r\n\r\n"
        if kind <= 2:  # a good head, and a body that is hostile
            body = join_batches([self.hostile.case([BATCH[4:]]) or b"x"])
            return filled(REQUESTS["honest"][0], self.key, body)
        if kind == 3:
            head, _, body = self.post_rows.partition(b"\r\n\r\n")
            body = mutated(rng, body)
            head = re.sub(rb"Length: \d+", b"Length: %d" % len(body), head)
            return head + b"\r\n\r\n" + body
        return mutated(rng, rng.choice(self.seeds)) or b"\r\n"


async def check(gateway: Gateway, raw: bytes) -> None:
    with kept("http", raw):
        waits = may_wait(raw)
        statuses, is_closed = await exchange(gateway, raw, wait_s=0.3 if waits else ANSWER_S)
        assert all(map(is_fine, statuses)), statuses
        assert statuses or is_closed or waits, "no answer in time"


@pytest.mark.parametrize("name", corpus("http"))
async def test_what_was_found_before(gateway: Gateway, name: str) -> None:
    await check(gateway, corpus("http")[name])
    assert await honest(gateway) == 202


@pytest.mark.timeout(400)
async def test_requests_at_random(gateway: Gateway) -> None:
    requests = Requests(source("http"), gateway.key)
    drawn = [requests.next() for _ in range(cases(5_000))]
    before = gateway.rss_bytes

    async def send(some: list[bytes]) -> None:
        for raw in some:
            await check(gateway, raw)
            with kept("http", raw):
                assert await honest(gateway) == 202

    async with asyncio.TaskGroup() as tasks:
        for start in range(16):
            tasks.create_task(send(drawn[start::16]))
    assert gateway.process.returncode is None
    assert gateway.rss_bytes - before < GROWTH_BYTES
