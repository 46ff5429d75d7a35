"""`POST /files/{entity}/{project}/{run}/file_stream`: 200 only once the lines are stored.

After a 200 the client deletes the lines and never retries them, and after most other answers it gives
the run up. So every temporary failure is answered 503 (or 429), and an unknown run is created.
Retried lines have the same offsets and give the same rows under the same keys.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient
from penstock.wire import check_name
from penstock_common.http.bodies import BodyReader
from penstock_common.http.errors import json_response
from penstock_common.queue.redis_keys import run_path, shard_of
from penstock_compat.wandb.dependencies import WandbDependencies
from penstock_compat.wandb.metrics import WandbMetrics
from penstock_compat.wandb.request_context import authenticate
from penstock_compat.wandb.run_state import STOP, refuse_deleted
from penstock_compat.wandb.stream.batches import Numbered, TranslatedBatches
from penstock_compat.wandb.stream.commits import Commits
from penstock_compat.wandb.stream.stream_lock import StreamLock
from penstock_compat.wandb.stream.translation import (
    Candidate,
    Request,
    Translated,
    UnknownProcess,
    writer_name,
)
from penstock_compat.wandb.stream.translator import Translator
from penstock_ingest.access import checked_entity
from penstock_ingest.creations import ensure_run
from penstock_ingest.positions import WriterName, WriterPosition
from penstock_ingest.quota import OverQuota
from penstock_storage.catalog.runs.line_streams import LineStream
from penstock_storage.contracts.interface import RunRef, RunRow

__all__ = ["STREAM_PATH", "StreamHandler"]

_LOG = logging.getLogger(__name__)

STREAM_PATH = "/files/{entity}/{project}/{run}/file_stream"
_MAX_BODY_BYTES = 64 * 2**20
_MAX_IN_FLIGHT_BYTES = 256 * 2**20
_BODY_TIMEOUT_S = 30.0
_COMMIT_TIMEOUT_S = 60.0
_LOOKS = 20
"""How often to check whether a run with unstored lines has been deleted."""
_CLIENT = "X-Wandb-Async-Client-Id"


class StreamHandler:
    """Receives lines, queues them as batches, and answers when they are stored."""

    def __init__(self, deps: WandbDependencies, metrics: WandbMetrics) -> None:
        self._deps = deps
        self._metrics = metrics
        self._commits = Commits(deps.positions)
        self._bodies = BodyReader(
            max_bytes=_MAX_BODY_BYTES,
            in_flight_bytes=_MAX_IN_FLIGHT_BYTES,
            timeout_s=_BODY_TIMEOUT_S,
            encodings=("identity", "gzip"),
        )
        self._translator = Translator(deps.limits)

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Stop the background tasks with the application."""
        yield
        self._translator.close()

    async def post(self, request: web.Request) -> web.Response:
        """Receive lines; see the module."""
        try:
            answer = await self._take(request)
        except (Rejected, Transient) as error:
            self._metrics.posts.labels(_outcome(error)).inc()
            if isinstance(error, OverQuota):
                await self._deps.quota.hold(error)
            raise
        self._metrics.posts.labels("stored").inc()
        return json_response(answer)

    async def _take(self, request: web.Request) -> dict[str, object]:
        deps = self._deps
        principal = await authenticate(deps.authenticator, request.headers)
        names = request.match_info
        ref = RunRef(
            checked_entity(names["entity"], principal),
            check_name("project", names["project"]),
            check_name("run", names["run"]),
        )
        client = request.headers.get(_CLIENT, "")
        if client:
            check_name("client id", client)
        deps.status.check()
        if deps.quota.is_limited:
            deps.quota.check((ref.entity, ref.project))
        lock = StreamLock(deps.redis, deps.keys.stream_lock(run_path(*ref), client), deps.metrics)
        try:
            async with self._bodies.body(request, owner=principal.key) as body:
                row = await self._run(ref)
                await lock.acquire()
                translated = await self._translated(ref, row, client, body)
            queued = await self._queue(ref, translated, lock)
        finally:
            await lock.release()
        if queued:
            await self._stored(ref, translated, queued)
        return {"exitcode": None, "limits": {}, **({"stopped": True} if _stops(row) else {})}

    async def _translated(self, ref: RunRef, row: RunRow, client: str, body: bytes) -> Translated:
        """The lines as batches of their process's generation."""
        now = time.time_ns() // 1000
        candidates = await self._candidates(row, client, now)
        incoming = Request(ref, candidates, now, is_shared=bool(client))
        started = time.perf_counter()
        try:
            return await self._translator.translate(body, incoming)
        except UnknownProcess as unknown:
            own = await self._begin_beside(row, client, now, unknown.offset)
            incoming = Request(ref, [own], now, is_shared=bool(client))
            return await self._translator.translate(body, incoming)
        finally:
            self._metrics.parse_seconds.observe(time.perf_counter() - started)

    async def _run(self, ref: RunRef) -> RunRow:
        """The run, created if it never existed. Raises `Rejected` (410) if it was deleted."""
        row = await self._deps.catalog.run(ref)
        if row is None:
            await refuse_deleted(self._deps.catalog, ref)
            row = await ensure_run(self._deps.catalog, ref)
        return row

    async def _wait(self, ref: RunRef, last: list[WriterPosition]) -> set[int]:
        """Wait until these are stored or the run is deleted; returns the numbers of dead letters."""
        for _ in range(_LOOKS - 1):
            try:
                return set(await self._commits.wait(last, _COMMIT_TIMEOUT_S / _LOOKS))
            except Transient as error:
                if error.code != ErrorCode.NOT_COMMITTED:
                    raise
                await refuse_deleted(self._deps.catalog, ref)
        return set(await self._commits.wait(last, _COMMIT_TIMEOUT_S / _LOOKS))

    async def _candidates(self, row: RunRow, client: str, now: int) -> list[Candidate]:
        """The client's generations; also marks its run as alive."""
        streams = self._deps.streams
        own = await streams.of_client(row.number, client)
        if not own:
            own = [await streams.begin(row.number, client, now)]
        names = [
            WriterName(row.entity, row.project, row.run, writer_name(stream)) for stream in own
        ]
        positions = await self._deps.positions.fetch(names, alive=names[:1])
        return [
            Candidate(stream, position.committed or 0)
            for stream, position in zip(own, positions, strict=True)
        ]

    async def _begin_beside(self, row: RunRow, client: str, now: int, offset: int) -> Candidate:
        """A generation for another process that logs to the run at the same time."""
        start = LineStream(row.number, client, 0, 0, history=offset, beside=True)
        stream = await self._deps.streams.begin(row.number, client, now, start=start)
        return Candidate(stream, 0)

    def _admit(self, ref: RunRef, made: TranslatedBatches) -> None:
        """Raises `Transient`: 429 over the project's quota, 503 if the run's shard is full."""
        self._deps.status.check_shard(shard_of(run_path(*ref)))
        if self._deps.quota.is_limited:
            self._deps.quota.take((ref.entity, ref.project), made.points)

    async def _queue(
        self, ref: RunRef, translated: Translated, lock: StreamLock
    ) -> list[WriterPosition]:
        """Queue the batches; returns their positions."""
        made, stream = translated.made, translated.stream
        if not made.batches:
            return []
        for writer in {each.writer for each in made.batches}:
            await self._deps.room.check(ref, writer)
        self._admit(ref, made)
        await lock.renew()
        if not await self._deps.streams.claim(stream):
            raise _claimed()
        queued = [await self._append(ref, each, stream) for each in made.batches]
        self._deps.metrics.points.inc(made.points)
        return queued

    async def _stored(
        self, ref: RunRef, translated: Translated, queued: list[WriterPosition]
    ) -> None:
        """Wait until the batches are stored, and save the line counts."""
        made, stream = translated.made, translated.stream
        if dead := await self._wait(ref, queued):
            # They stay in the dead letters for inspection: the client could only repeat them.
            _LOG.error("lines_dead run=%s numbers=%s", "/".join(ref), sorted(dead))
        if translated.missing or made.refused:
            _LOG.warning(
                "lines_missing run=%s missing=%d unreadable=%d",
                "/".join(ref), translated.missing, made.refused,
            )  # fmt: skip
        await self._deps.streams.advance(stream)
        for file, count in zip(("history", "events", "console"), translated.lines, strict=True):
            self._metrics.lines.labels(file).inc(count)

    async def _append(self, ref: RunRef, batch: Numbered, stream: LineStream) -> WriterPosition:
        """Raises `Transient` if its number is used already: the client repeats its lines, and they get new
        ones. Told of a conflict, it would give the run up."""
        age_us = max(0, time.time_ns() // 1000 - stream.generation)
        try:
            appended = await self._deps.appender.append(
                *ref, batch.writer, batch.seq, batch.raw, batch.decoded, age_us
            )
        except Rejected as error:
            if error.code == ErrorCode.CONFLICT:
                raise _claimed() from error
            raise
        if not appended.is_new:
            raise _claimed()
        self._deps.metrics.batches.labels("queued").inc()
        return appended.position


def _claimed() -> Transient:
    return Transient(
        "another process's lines were queued in the meantime",
        code=ErrorCode.NOT_COMMITTED,
        retry_after_s=1,
    )


def _stops(row: RunRow) -> bool:
    return row.info.get(STOP) is True


def _outcome(error: Rejected | Transient) -> str:
    if isinstance(error, Rejected):
        return "refused"
    return "not_committed" if error.code == ErrorCode.NOT_COMMITTED else "unavailable"
