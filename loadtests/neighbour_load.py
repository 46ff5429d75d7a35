"""One tenant of `loadtests.neighbour`, in a process of its own: told on its input when to send and when to pause.

A quiet one sends at fixed times, whether answers come or not, and notes how late each answer was. A flood sends the next
batch, or the refused one again, as soon as it has an answer; an honest one waits as `Retry-After` says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import uvloop
from benchmarks.generate import Shape, WriterPlan, batch_bytes, plans

from penstock.wire import CONTENT_TYPE, join_batches

__all__ = ["Answer", "Tenant"]

_STEP_S = 0.05


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    retry_after_s: float


class _Http(asyncio.Protocol):
    """One connection, one request at a time, as little work as possible."""

    def __init__(self, host: str, key: str) -> None:
        self._head = (
            f"POST /v1/batches HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: "
        )
        self._received = b""
        self._answer: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport

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
        headers = dict(
            line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if b": " in line
        )
        if len(rest) >= int(headers[b"content-length"]):
            self._received = b""
            wait_s = float(headers.get(b"retry-after", b"0"))
            self._answer.set_result(Answer(int(head[9:12]), wait_s))

    def post(self, body: bytes) -> asyncio.Future[Answer]:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        return self._answer

    def close(self) -> None:
        self._transport.close()


class _Link:
    """A connection that is made again when it breaks: a server may close one whose body does not arrive."""

    def __init__(self, url: str, key: str) -> None:
        self._at = urlsplit(url)
        self._key = key
        self._http: _Http | None = None
        self.broken = 0

    async def post(self, body: bytes) -> Answer:
        """The answer; status 0 if the connection broke."""
        try:
            if self._http is None:
                self._http = await self._connect()
            return await self._http.post(body)
        except (OSError, RuntimeError):  # uvloop's own for a closed one
            self.broken += 1
            self.close()
            return Answer(0, 0.1)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    async def _connect(self) -> _Http:
        loop = asyncio.get_running_loop()
        _, http = await loop.create_connection(
            lambda: _Http(self._at.netloc, self._key), self._at.hostname or "", self._at.port or 80
        )
        return http


@dataclass
class Tenant:
    """A project's writers. `times` are (when it was due, seconds until the answer) of what was accepted."""

    url: str
    key: str
    project: str
    shape: Shape
    sent: dict[WriterPlan, int] = field(default_factory=dict)
    times: list[tuple[float, float]] = field(default_factory=list)
    refused: int = 0
    broken: int = 0
    going: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Link]:
        link = _Link(self.url, self.key)
        try:
            yield link
        finally:
            self.broken += link.broken
            link.close()

    def _body(self, plan: WriterPlan, seq: int) -> bytes:
        return join_batches([batch_bytes(self.shape, plan, seq, project=self.project)])

    async def quiet(self, plan: WriterPlan, first_at: float, period_s: float) -> None:
        """A batch per period, due at fixed times."""
        due = first_at
        async with self._connection() as http:
            while not self.ended:
                seq = self.sent.get(plan, 0) + 1
                body = self._body(plan, seq)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                while (answer := await http.post(body)).status != 202:
                    self.refused += bool(answer.status)
                    await asyncio.sleep(answer.retry_after_s)
                self.times.append((due, time.monotonic() - due))
                self.sent[plan] = seq
                due = max(due + period_s, time.monotonic() - period_s)

    async def flood(self, plan: WriterPlan, *, is_honest: bool, period_s: float) -> None:
        """All it can; an honest one as its answers allow, and a new batch every period at most."""
        seq, body, due = 1, self._body(plan, 1), 0.0
        async with self._connection() as http:
            while not self.ended:
                if not self.going.is_set():
                    await asyncio.sleep(_STEP_S)
                    continue
                if is_honest:
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                answer = await http.post(body)
                if answer.status == 202:
                    self.sent[plan] = seq
                    seq += 1
                    body = self._body(plan, seq)
                    due = max(due + period_s, time.monotonic() - period_s)
                else:
                    self.refused += bool(answer.status)
                    if is_honest or not answer.status:
                        await asyncio.sleep(answer.retry_after_s)


async def _obey(tenant: Tenant) -> None:
    """`go`, `pause`; the end of the input ends it."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line == b"go\n":
            tenant.going.set()
        else:
            tenant.going.clear()
    tenant.ended = True


async def _main(arguments: argparse.Namespace, key: str) -> None:
    shape = Shape(**arguments.shape)
    tenant = Tenant(arguments.url, key, arguments.project, shape)
    everyone = plans(shape)
    began = time.monotonic() + 0.5
    tasks = []
    for number, plan in enumerate(everyone):
        if arguments.kind == "quiet":
            first_at = began + arguments.period * number / len(everyone)
            work = tenant.quiet(plan, first_at, arguments.period)
        else:
            is_honest = arguments.kind == "honest"
            work = tenant.flood(plan, is_honest=is_honest, period_s=arguments.period)
        tasks.append(asyncio.create_task(work))
    print("ready", flush=True)
    await _obey(tenant)
    await asyncio.wait(tasks, timeout=10)
    content = {
        "times": tenant.times,
        "refused": tenant.refused,
        "broken": tenant.broken,
        "sent": [[plan.run, plan.writer, count] for plan, count in tenant.sent.items()],
        "errors": [repr(each.exception()) for each in tasks if each.done() and each.exception()],
    }
    json.dump(content, sys.stdout)


def main() -> None:
    """Entry of a tenant's process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("quiet", "honest", "hostile"))
    parser.add_argument("url")
    parser.add_argument("--project", required=True)
    parser.add_argument("--shape", type=json.loads, required=True)
    parser.add_argument("--period", type=float, default=1.0)
    arguments = parser.parse_args()
    uvloop.run(_main(arguments, sys.stdin.buffer.raw.read(4096).decode().strip()))  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
