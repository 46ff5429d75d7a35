"""`POST /v1/batches`: check the key, check the batch, append it, say where the writer stands."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from aiohttp import web

from penstock.errors import Rejected, Transient
from penstock.wire import (
    CONTENT_TYPE,
    Batch,
    Limits,
    check_name,
    decode_batch,
    encode_batch,
    split_body,
)
from penstock_common.auth import Authenticator, Principal
from penstock_common.http import json_response
from penstock_common.metrics import REJECTIONS, GatewayMetrics
from penstock_ingest.append import Appended, Appender, Mark
from penstock_ingest.body import BodyReader
from penstock_ingest.pace import Pace
from penstock_ingest.reports import ClientReports
from penstock_ingest.rows import batch_from_json
from penstock_ingest.status import ServerStatus

__all__ = ["BatchHandler"]

_IN_THREAD_BYTES = 256 * 1024
_IDEMPOTENCY_KEY_CHARS = 255


class BatchHandler:
    """The write path of one gateway process."""

    def __init__(
        self,
        authenticator: Authenticator,
        appender: Appender,
        bodies: BodyReader,
        status: ServerStatus,
        pace: Pace,
        metrics: GatewayMetrics,
        limits: Limits,
    ) -> None:
        self._authenticator = authenticator
        self._appender = appender
        self._bodies = bodies
        self._status = status
        self._pace = pace
        self._metrics = metrics
        self._limits = limits
        self._wire_bytes = metrics.bytes.labels("wire")
        self._decoded_bytes = metrics.bytes.labels("decoded")
        self._reports = ClientReports(metrics)
        self._queued = metrics.batches.labels("queued")
        self._duplicate = metrics.batches.labels("duplicate")

    async def post(self, request: web.Request) -> web.Response:
        """Queue every batch of the body, or none: see docs/api.md."""
        try:
            appended = await self._take(request)
        except (Rejected, Transient) as error:
            self._count_refusal(error)
            raise
        self._pace.count(len(appended))
        return self._reply([each.mark for each in appended], status=202)

    async def writer(self, request: web.Request) -> web.Response:
        """Where a writer stands, for a client that has nothing to send but waits for commits."""
        principal = await self._authenticator.authenticate(request.headers)
        names = request.match_info
        entity = principal.entity if names["entity"] == "-" else names["entity"]
        if not principal.may_write(entity):
            raise _forbidden(entity)
        mark = await self._appender.mark(entity, names["project"], names["run"], names["writer"])
        return self._reply([mark], status=200)

    async def _take(self, request: web.Request) -> list[Appended]:
        principal = await self._authenticator.authenticate(request.headers)
        if self._status.is_queue_full:
            raise Transient("the queue is full until workers catch up", code="overloaded")
        kind = request.content_type
        if kind == CONTENT_TYPE:
            return await self._take_batches(await self._bodies.read(request), principal)
        if kind == "application/json":
            return [await self._take_rows(await self._bodies.read(request), principal, request)]
        raise Rejected(
            f"Content-Type {kind!r} is not accepted",
            code="unknown_content_type",
            status=415,
            hint=f"Send {CONTENT_TYPE} (batches) or application/json (rows).",
        )

    async def _take_batches(self, body: bytes, principal: Principal) -> list[Appended]:
        raws = split_body(body, self._limits)
        # Large bodies would hold up every other request of this process.
        if len(body) > _IN_THREAD_BYTES:
            batches = await asyncio.to_thread(self._decode, raws)
        else:
            batches = self._decode(raws)
        entities = [self._entity(batch, principal) for batch in batches]
        appends = [
            self._appender.append(entity, batch.project, batch.run, batch.writer, batch.seq, raw)
            for entity, batch, raw in zip(entities, batches, raws, strict=True)
        ]
        # One batch is the common case, and needs no task of its own.
        appended = [await appends[0]] if len(appends) == 1 else await asyncio.gather(*appends)
        for batch, raw, each in zip(batches, raws, appended, strict=True):
            self._count(batch, len(raw), is_new=each.is_new)
        return list(appended)

    async def _take_rows(self, body: bytes, principal: Principal, request: web.Request) -> Appended:
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > _IDEMPOTENCY_KEY_CHARS:
            raise Rejected("Idempotency-Key is too long", code="bad_idempotency_key")
        batch = await asyncio.to_thread(batch_from_json, body, self._limits)
        raw = encode_batch(batch)
        appended = await self._appender.append_rows(
            self._entity(batch, principal),
            batch.project,
            batch.run,
            raw,
            key=key,
            digest=hashlib.sha256(body).hexdigest(),
        )
        self._count(batch, len(body), is_new=appended.is_new)
        return appended

    def _decode(self, raws: list[bytes]) -> list[Batch]:
        return [decode_batch(raw, self._limits) for raw in raws]

    def _entity(self, batch: Batch, principal: Principal) -> str:
        entity = batch.entity or principal.entity
        check_name("entity", entity, self._limits)
        if not principal.may_write(entity):
            raise _forbidden(entity)
        return entity

    def _count(self, batch: Batch, size: int, *, is_new: bool) -> None:
        points = batch.points
        self._wire_bytes.inc(size)
        self._decoded_bytes.inc(8 * points)
        if is_new:
            self._queued.inc()
            self._metrics.points.inc(points)
            self._metrics.batch_points.observe(points)
            self._reports.note(batch)
        else:
            self._duplicate.inc()

    def _count_refusal(self, error: Rejected | Transient) -> None:
        self._metrics.batches.labels(_outcome(error)).inc()
        self._metrics.rejections.labels(_reason(error)).inc()

    def _reply(self, marks: list[Mark], status: int) -> web.Response:
        last = marks[-1]
        payload: dict[str, Any] = {
            "queued": last.queued,
            "committed": last.committed,
            "queue": last.queue,
            "store": self._status.store,
            "interval_s": self._pace.interval_s,
            "commands": [],
            "marks": _latest(marks),
        }
        return json_response(payload, status=status)


def _latest(marks: list[Mark]) -> list[Mark]:
    """One mark per writer: its highest number."""
    if len(marks) == 1:
        return marks
    by_writer: dict[tuple[str, str, str], Mark] = {}
    for mark in marks:
        name = (mark.project, mark.run, mark.writer)
        known = by_writer.get(name)
        if known is None or mark.queued >= known.queued:
            by_writer[name] = mark
    return list(by_writer.values())


def _forbidden(entity: str) -> Rejected:
    return Rejected(
        f"this key may not write to {entity!r}",
        code="forbidden",
        status=403,
        hint="Leave entity out to write to the key's own, or use a key of that entity.",
    )


def _outcome(error: Rejected | Transient) -> str:
    if error.status in (401, 403):
        return "unauthorized"
    if error.status == 413:
        return "too_large"
    if error.status == 429:
        return "quota"
    if error.code == "overloaded":
        return "overloaded"
    return "queue_error" if isinstance(error, Transient) else "invalid"


def _reason(error: Rejected | Transient) -> str:
    if error.status == 401:
        return "unauthorized"
    if isinstance(error, Transient) and error.code.startswith("queue_"):
        return "queue_unavailable"
    return error.code if error.code in REJECTIONS else "other"
