"""A load generator over HTTP: many writers, one request in flight each, in one process.

It implements just enough HTTP/1.1 over raw sockets to use only a small part of the machine that it
shares with the servers; scheduled batches are generated before the clock starts. Without a schedule
it slows down when commits fall behind, so the rate it reports is sustained.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.generate import Shape, WriterPlan, batch_bytes, plans
from penstock.wire import join_batches

__all__ = ["Load"]

PROJECT = "bench"
_BEHIND_POINTS = 6_000_000


@dataclass
class Load:
    """Sends batches of this shape for a while; then waits until everything is committed.

    `first` is the first number of each writer, `rate` the total batches per second (0: as fast
    as possible), `waits` whether to slow down and wait for commits.
    """

    url: str
    api_key: str
    shape: Shape
    connections: int = 8
    first: int = 1
    rate: float = 0.0
    waits: bool = True
    sent: dict[WriterPlan, int] = field(default_factory=dict)
    committed: dict[WriterPlan, int] = field(default_factory=dict)
    retries: int = 0
    _started: float = 0.0
    _scheduled: int = 0
    _ready: dict[WriterPlan, Iterator[bytes]] = field(default_factory=dict)

    def prepare(self, seconds: float) -> None:
        """Generate everything that the schedule requires."""
        everyone = plans(self.shape)
        rounds = math.ceil(seconds * self.rate / len(everyone)) + 1
        seqs = range(self.first, self.first + rounds)
        for plan in everyone:
            self._ready[plan] = iter([self._body(plan, seq, acked=0) for seq in seqs])

    async def run(self, seconds: float) -> tuple[float, float]:
        """Returns (points committed per second, seconds from the first byte to the last commit)."""
        waiting = deque(plans(self.shape))
        started = self._started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.connections):
                tasks.create_task(self._connection(waiting, started + seconds))
        if self.waits:
            await self._wait_committed()
        took_s = time.monotonic() - started
        count = sum(seq - self.first + 1 for seq in self.sent.values())
        return count * self.shape.points / took_s, took_s

    async def _connection(self, waiting: deque[WriterPlan], deadline: float) -> None:
        connection = await _Connection.open(self.url, self.api_key)
        try:
            while time.monotonic() < deadline:
                await self._pace()
                # A scheduled load does not hold back: whether the server keeps up is the question.
                while self.waits and not self.rate and self._behind() > _BEHIND_POINTS:
                    plan = max(self.sent, key=lambda p: self.sent[p] - self.committed.get(p, 0))
                    await asyncio.sleep(0.05)
                    await self._ask(connection, plan)
                plan = waiting.popleft()
                await self._send(connection, plan)
                waiting.append(plan)
        finally:
            connection.close()

    async def _pace(self) -> None:
        """Wait for the next slot in the schedule: late batches are caught up on, not dropped."""
        if self.rate:
            due = self._started + self._scheduled / self.rate
            self._scheduled += 1
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _behind(self) -> int:
        done = sum(self.committed.get(plan, 0) for plan in self.sent)
        return (sum(self.sent.values()) - done) * self.shape.points

    async def _send(self, connection: _Connection, plan: WriterPlan) -> None:
        seq = self.sent.get(plan, self.first - 1) + 1
        ready = self._ready.get(plan)
        body = next(ready) if ready else self._body(plan, seq, acked=self.committed.get(plan, 0))
        while True:
            status, reply = await connection.post("/v1/batches", body)
            if status == 202:
                break
            if status not in (429, 503):
                raise RuntimeError(f"the gateway answered {status}: {reply!r}")
            self.retries += 1
            await asyncio.sleep(0.2)
        self.sent[plan] = seq
        if not ready:
            self._note(plan, reply)

    def _body(self, plan: WriterPlan, seq: int, *, acked: int) -> bytes:
        raw = batch_bytes(self.shape, plan, seq, project=PROJECT, acked=acked)
        return join_batches([raw])

    async def _ask(self, connection: _Connection, plan: WriterPlan) -> None:
        path = f"/v1/writers/-/{PROJECT}/{plan.run_name}/{plan.name}"
        status, reply = await connection.get(path)
        if status == 200:
            self._note(plan, reply)

    def _note(self, plan: WriterPlan, reply: bytes) -> None:
        mark = json.loads(reply)["committed"]
        self.committed[plan] = max(self.committed.get(plan, 0), mark or 0)

    async def _wait_committed(self) -> None:
        connection = await _Connection.open(self.url, self.api_key)
        await connection.get("/v1/projects")  # somebody reads: workers do not wait for more
        deadline = time.monotonic() + 120
        for plan, seq in self.sent.items():
            while self.committed.get(plan, 0) < seq:
                if time.monotonic() > deadline:
                    raise RuntimeError("the last batches were not committed in 120 s")
                await self._ask(connection, plan)
                if self.committed.get(plan, 0) < seq:
                    await asyncio.sleep(0.01)
        connection.close()


class _Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection, one request at a time."""

    def __init__(self, host: str, key: str) -> None:
        common = f"Host: {host}\r\nAuthorization: Bearer {key}\r\n"
        self._post = f"HTTP/1.1\r\n{common}Content-Type: application/msgpack\r\nContent-Length: "
        self._get = f"HTTP/1.1\r\n{common}\r\n"
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._received = b""
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, url: str, key: str) -> _Connection:
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: cls(parts.netloc, key), parts.hostname or "", parts.port or 80
        )
        return connection

    def post(self, path: str, body: bytes) -> asyncio.Future[tuple[int, bytes]]:
        head = f"POST {path} {self._post}{len(body)}\r\n\r\n".encode()
        return self._send(head + body)

    def get(self, path: str) -> asyncio.Future[tuple[int, bytes]]:
        return self._send(f"GET {path} {self._get}".encode())

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end or self._answer is None:
            return
        lower = head.lower() + b"\r\n"
        at = lower.index(b"content-length:") + 15
        if len(rest) >= int(lower[at : lower.index(b"\r\n", at)]):
            self._received = b""
            self._answer.set_result((int(head[9:12]), rest))

    def _send(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer


def main() -> None:
    """Entry of the generator's process: reports when it starts, then prints its result as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--shape", type=json.loads, required=True)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--no-wait", action="store_true")
    arguments = parser.parse_args()
    load = Load(
        arguments.url,
        sys.stdin.readline().strip(),
        Shape(**arguments.shape),
        first=arguments.first,
        rate=arguments.rate,
        waits=not arguments.no_wait,
        connections=64 if arguments.rate else 8,
    )
    if load.rate:
        load.prepare(arguments.seconds)
    print("started", flush=True)
    rate, took_s = uvloop.run(load.run(arguments.seconds))
    result = {
        "rate": rate,
        "took_s": took_s,
        "retries": load.retries,
        "sent": [[plan.run, plan.writer, count] for plan, count in load.sent.items()],
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
