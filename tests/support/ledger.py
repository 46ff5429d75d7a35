"""A small real server that implements the reply contract of `POST /v1/batches`, with faults on order,
and remembers every byte that arrived: the ledger that the client's tests check."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web

from penstock import wire
from penstock.errors import Rejected

__all__ = ["Fault", "Ledger", "cells", "serve_ledger"]


@dataclass
class Fault:
    """What happens to one request instead of a 202: a status, or the connection dropped; `store`
    says whether the batch is taken all the same."""

    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    take: bool = False
    code: str = "fault"
    supported: list[int] = field(default_factory=list)
    page: bool = False
    """Answered with an HTML page, as by a proxy that stands before it."""


class Ledger:
    """What a server got, and how it is to behave."""

    def __init__(self) -> None:
        self.url = ""
        self.queue = "queue-1"
        self.store = "store-1"
        self.commits = True
        self.key = "good"
        self.points_limit = 1 << 60
        self.faults: deque[Fault] = deque()
        self.requests = 0
        self.arrivals: dict[tuple[str, int], list[bytes]] = {}
        self.queued: dict[str, dict[int, bytes]] = {}
        self.committed: dict[str, dict[int, bytes]] = {}
        self.dead: dict[str, list[int]] = {}
        self.knows_heartbeats = True
        self.heartbeats: list[list[dict[str, Any]]] = []

    def lose_queue(self) -> None:
        """The queue is wiped and starts anew under another id."""
        self.queued.clear()
        self.queue = f"{self.queue}x"

    def lose_store(self) -> None:
        """The store, and all it held, is replaced by an empty one."""
        self.committed.clear()
        self.store = f"{self.store}x"

    def roll_back(self, to: int) -> None:
        """The store is replaced by an older copy of itself, under the same id."""
        for batches in (*self.committed.values(), *self.queued.values()):
            for seq in [seq for seq in batches if seq > to]:
                del batches[seq]

    def commit(self) -> None:
        """Move what is queued without a gap into the store."""
        for writer, batches in self.queued.items():
            stored = self.committed.setdefault(writer, {})
            for seq in sorted(batches):
                stored.setdefault(seq, batches[seq])

    def mark(self, writer: str) -> int:
        stored = self.committed.get(writer, {})
        mark = max([0, *(wire.decode_batch(raw).acked for raw in stored.values())])
        while mark + 1 in stored:
            mark += 1
        return mark

    def batches(self) -> list[wire.Batch]:
        """What the store holds, in order of (writer, seq)."""
        return [
            wire.decode_batch(batches[seq])
            for _, batches in sorted(self.committed.items())
            for seq in sorted(batches)
        ]

    def points(self) -> dict[tuple[str, int], float]:
        """(key, step) → value over all batches, a later one replacing an earlier one."""
        return {
            (key, step): value
            for batch in self.batches()
            for frame in batch.frames
            for key, step, value in cells(frame)
        }

    def records(self, kind: str) -> list[Mapping[str, Any]]:
        return [r for batch in self.batches() for r in batch.records if r["t"] == kind]

    def states(self) -> dict[str, tuple[str, int | None]]:
        """run → (state, exit code) as last said."""
        return {
            batch.run: (record["state"], record.get("exit_code"))
            for batch in self.batches()
            for record in batch.records
            if record["t"] == "state"
        }

    def assert_same_bytes(self) -> None:
        """Every repeat of a batch had the bytes of the first, unless its number was voided."""
        for name, raws in self.arrivals.items():
            full = {raw for raw in raws if _holds_something(raw)}
            assert len(full) <= 1, name

    async def post(self, request: web.Request) -> web.StreamResponse:
        raws = wire.split_body(await request.read())
        self.requests += 1
        fault = self.faults.popleft() if self.faults else None
        try:
            batch = wire.decode_batches(raws)[-1]
        except Rejected as refusal:
            said = {"code": refusal.code, "message": str(refusal), "hint": refusal.hint}
            return web.json_response({"error": said}, status=refusal.status)
        if fault is None and request.headers.get("Authorization") != f"Bearer {self.key}":
            fault = Fault(401)
        if fault is None and batch.points > self.points_limit:
            fault = Fault(413)
        for raw in raws:
            batch = wire.decode_batch(raw)
            self.arrivals.setdefault((batch.writer, batch.seq), []).append(raw)
            if fault is None or fault.take:
                self.queued.setdefault(batch.writer, {}).setdefault(batch.seq, raw)
        if fault is not None and fault.drop:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault is not None:
            if fault.page:
                page = f"<h1>{fault.status}</h1>"
                return web.Response(text=page, content_type="text/html", status=fault.status)
            error: dict[str, Any] = {"code": fault.code, "message": "as ordered", "hint": ""}
            if fault.supported:
                error["supported"] = fault.supported
            return web.json_response({"error": error}, status=fault.status, headers=fault.headers)
        return web.json_response(self._reply(batch.writer), status=202)

    async def writer(self, request: web.Request) -> web.Response:
        if self.commits:
            self.commit()
        return web.json_response(self._reply(request.match_info["writer"]))

    async def beat(self, request: web.Request) -> web.Response:
        if not self.knows_heartbeats:
            raise web.HTTPNotFound
        writers = (await request.json())["writers"]
        self.heartbeats.append(writers)
        names = ("entity", "project", "run", "writer")
        marks = [
            {**{name: asked[name] for name in names}, **self._mark(asked["writer"])}
            for asked in writers
        ]
        reply = {"store": self.store, "interval_s": 0.05, "commands": [], "marks": marks}
        return web.json_response(reply)

    async def run(self, request: web.Request) -> web.Response:
        batches = [each for each in self.batches() if each.run == request.match_info["run"]]
        rank = request.query.get("rank")
        steps = [
            step
            for batch in batches
            if rank is None or batch.rank == int(rank)
            for step in _steps(batch)
        ]
        if not batches:
            return web.json_response({"error": {"code": "not_found"}}, status=404)
        about: dict[str, Any] = {"config": {}, "summary": {}}
        for record in (record for batch in batches for record in batch.records):
            if record["t"] in about:
                about[record["t"]] |= record["update"]
            elif record["t"] == "run":
                about |= {key: record[key] for key in record.keys() & {"name", "tags", "notes"}}
        return web.json_response({"last_step": max(steps, default=None), **about})

    async def viewer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"code": "unauthorized"}}, status=401)
        return web.json_response({"entity": "me", "version": "0", "login_required": False})

    def _reply(self, writer: str) -> dict[str, Any]:
        return {
            **self._mark(writer),
            "store": self.store,
            "interval_s": 0.05,
            "commands": [],
        }

    def _mark(self, writer: str) -> dict[str, Any]:
        return {
            "queued": max([0, *self.queued.get(writer, {})]),
            "committed": self.mark(writer),
            "queue": self.queue,
            "dead": self.dead.get(writer, []),
        }


@contextmanager
def serve_ledger() -> Iterator[Ledger]:
    """A ledger behind a free loopback port, in a thread with a loop of its own."""
    ledger = Ledger()
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/batches", ledger.post)
        app.router.add_get("/v1/writers/{entity}/{project}/{run}/{writer}", ledger.writer)
        app.router.add_post("/v1/heartbeats", ledger.beat)
        app.router.add_get("/v1/viewer", ledger.viewer)
        app.router.add_get("/v1/runs/{entity}/{project}/{run}", ledger.run)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ledger.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def serve() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert started.wait(10)
    try:
        yield ledger
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def cells(frame: wire.Frame) -> Iterator[tuple[str, int, float]]:
    steps = np.frombuffer(frame.steps, "<i8").tolist()
    columns = np.frombuffer(frame.values, "<f8").reshape(len(frame.keys), frame.rows).tolist()
    for key, column in zip(frame.keys, columns, strict=True):
        for step, value in zip(steps, column, strict=True):
            yield key, step, value


def _steps(batch: wire.Batch) -> Iterator[int]:
    for frame in batch.frames:
        yield from np.frombuffer(frame.steps, "<i8").tolist()


def _holds_something(raw: bytes) -> bool:
    batch = wire.decode_batch(raw)
    return bool(batch.frames or batch.records)
