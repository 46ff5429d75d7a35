"""`POST /files/{entity}/{project}/{run}/file_stream`: 200 only once the lines are stored.

The client frees what was answered 200 and never sends it again, and for most other answers it gives
the run up for good. So whatever could heal is answered 503 (or 429), and a run that is not known is
made. Lines come again under the same offsets: they make the same rows under the same keys.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from aiohttp import web

from penstock.errors import Rejected, Transient
from penstock.wire import Limits, check_name
from penstock_common.http import json_response
from penstock_compat.wandb.asking import authenticate
from penstock_compat.wandb.metrics import WandbMetrics
from penstock_compat.wandb.parts import WandbParts
from penstock_compat.wandb.runs.mutations import STOP
from penstock_compat.wandb.stream.batches import Made, Writer, make_batches
from penstock_compat.wandb.stream.commits import Commits
from penstock_compat.wandb.stream.generations import pick
from penstock_compat.wandb.stream.post import Post, parse_post
from penstock_ingest.access import checked_entity
from penstock_ingest.body import BodyReader
from penstock_ingest.marks import WriterName
from penstock_storage.catalog.line_streams import LineStream
from penstock_storage.interface import RunRef, RunRow

__all__ = ["MOST_BODY_BYTES", "STREAM_PATH", "StreamHandler"]

_LOG = logging.getLogger(__name__)

STREAM_PATH = "/files/{entity}/{project}/{run}/file_stream"
MOST_BODY_BYTES = 64 * 2**20
_IN_FLIGHT_BYTES = 256 * 2**20
_BODY_TIMEOUT_S = 30.0
_COMMIT_TIMEOUT_S = 60.0
_INLINE_BYTES = 32 * 1024
_CLIENT = "X-Wandb-Async-Client-Id"
_SEQ_US = 10_000  # numbers count hundredths of a second: 497 days of them fit into 32 bits
_MOST_SEQ = 2**32 - 1


class StreamHandler:
    """Takes lines, queues them as batches, and answers when they are stored."""

    def __init__(self, parts: WandbParts, metrics: WandbMetrics) -> None:
        self._parts = parts
        self._metrics = metrics
        self._commits = Commits(parts.marks)
        self._bodies = BodyReader(
            Limits(body_bytes=MOST_BODY_BYTES),
            in_flight_bytes=_IN_FLIGHT_BYTES,
            timeout_s=_BODY_TIMEOUT_S,
            metrics=None,
            encodings=("identity", "gzip"),
        )
        # One large body is taken apart at a time: two would only share the interpreter.
        self._large = asyncio.Semaphore(1)

    async def post(self, request: web.Request) -> web.Response:
        try:
            answer = await self._take(request)
        except (Rejected, Transient) as error:
            self._metrics.posts.labels(_outcome(error)).inc()
            raise
        self._metrics.posts.labels("stored").inc()
        return json_response(answer)

    async def _take(self, request: web.Request) -> dict[str, object]:
        parts = self._parts
        principal = await authenticate(parts.authenticator, request.headers)
        names = request.match_info
        ref = RunRef(
            checked_entity(names["entity"], principal),
            check_name("project", names["project"]),
            check_name("run", names["run"]),
        )
        parts.status.check()
        async with self._bodies.body(request.clone(client_max_size=MOST_BODY_BYTES)) as body:
            post = await self._parsed(body)
            row = (await parts.catalog.ensure_runs([ref]))[ref]
            stream = await self._stream(row, post, request.headers)
            await self._store(ref, row, stream, post)
        return {"exitcode": None, "limits": {}, **({"stopped": True} if _stops(row) else {})}

    async def _parsed(self, body: bytes) -> Post:
        if len(body) <= _INLINE_BYTES:
            return parse_post(body)
        async with self._large:
            return await asyncio.to_thread(parse_post, body)

    async def _stream(self, row: RunRow, post: Post, headers: Mapping[str, str]) -> LineStream:
        client = headers.get(_CLIENT, "")
        if client:
            check_name("client id", client)
            post.is_shared = True
        streams = await self._parts.streams.of_run(row.number)
        found = pick([each for each in streams if each.client == client], post)
        if found is None:
            found = await self._parts.streams.begin(row.number, client, _now())
        return found

    async def _store(self, ref: RunRef, row: RunRow, stream: LineStream, post: Post) -> None:
        name = _writer_name(stream)
        writer_name = WriterName(*ref, name)
        [mark] = await self._parts.marks.look([writer_name], alive=[writer_name])
        if post.is_heartbeat:
            return
        now = _now()
        seq = max(
            (now - stream.generation) // _SEQ_US + 1, stream.last_seq + 1, (mark.committed or 0) + 1
        )
        if seq > _MOST_SEQ - 10_000:
            raise Transient("this run has been logged to for too long", code="overloaded")
        made = await self._made(post, Writer(ref, name, stream.rank, seq, now))
        for writer, number, raw in made.batches:
            await self._parts.appender.append(*ref, writer, number, raw)
        last = [(WriterName(*ref, writer), number) for writer, number, _ in made.batches]
        if dead := await self._commits.wait(last, _COMMIT_TIMEOUT_S):
            # They wait in the dead letters for somebody to look: the client could only repeat them.
            _LOG.error("lines_dead run=%s numbers=%s", "/".join(ref), sorted(dead))
        await self._note(stream, post, made, max((number for _, number in last), default=seq))

    async def _made(self, post: Post, writer: Writer) -> Made:
        started = time.perf_counter()
        size = sum(map(len, post.history.content)) + sum(map(len, post.events.content))
        size += sum(len(line) for lines in post.console for line in lines.content)
        if size + len(post.summary or "") <= _INLINE_BYTES:
            made = make_batches(post, writer, self._parts.limits)
        else:
            async with self._large:
                made = await asyncio.to_thread(make_batches, post, writer, self._parts.limits)
        self._metrics.parse_seconds.observe(time.perf_counter() - started)
        return made

    async def _note(self, stream: LineStream, post: Post, made: Made, last_seq: int) -> None:
        """Keep how far the lines have come, for those who resume."""
        if post.history.content:
            if post.history.offset > stream.history:
                _LOG.warning(
                    "lines_missing run=%d from=%d to=%d", stream.run, stream.history,
                    post.history.offset,
                )  # fmt: skip
            stream.history = max(stream.history, post.history.end)
            stream.posted_at, stream.tail = post.history.offset, made.tail or stream.tail
        if post.events.content:
            stream.events = max(stream.events, post.events.end)
            stream.events_tail = made.events_tail or stream.events_tail
        for lines in post.console:
            stream.console = max(stream.console, lines.end)
        stream.last_seq = last_seq
        await self._parts.streams.advance(stream)
        counts = self._metrics.lines
        counts.labels("history").inc(len(post.history.content))
        counts.labels("events").inc(len(post.events.content))
        counts.labels("console").inc(sum(len(lines.content) for lines in post.console))


def _writer_name(stream: LineStream) -> str:
    client = f"-{stream.client}" if stream.client else ""
    return f"wandb-{stream.generation:x}{client}"


def _stops(row: RunRow) -> bool:
    return row.info.get(STOP) is True


def _outcome(error: Rejected | Transient) -> str:
    if isinstance(error, Rejected):
        return "refused"
    return "not_committed" if error.code == "not_committed" else "unavailable"


def _now() -> int:
    return time.time_ns() // 1000
