"""`POST /v1/batches`: check the key, check the batch, append it, reply with the writer's position."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import repeat
from typing import Any, cast

from aiohttp import web

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient
from penstock.wire import AGE_HEADER, CONTENT_TYPE, Batch, split_body
from penstock_common.http.auth import Authenticator, Principal
from penstock_common.http.bodies import BodyReader
from penstock_common.http.checks import checked_query
from penstock_common.http.errors import json_response
from penstock_common.process.metrics import REJECTIONS, GatewayMetrics
from penstock_common.queue.redis_keys import run_path, shard_of
from penstock_ingest.access import checked_entity
from penstock_ingest.append import Appended, Appender
from penstock_ingest.bells import is_urgent
from penstock_ingest.bound_check import BoundCheck
from penstock_ingest.decoding import Decoding, Share
from penstock_ingest.deletions import DeletedRuns
from penstock_ingest.operations import QUEUE_BATCHES
from penstock_ingest.pace import Pace
from penstock_ingest.peek import project_of, project_of_body
from penstock_ingest.positions import WriterName, WriterPosition, WriterPositions
from penstock_ingest.quota import OverQuota, Quota
from penstock_ingest.reports import ClientReports
from penstock_ingest.rows import batches_from_json, json_size
from penstock_ingest.status import ServerStatus
from penstock_ingest.turns import ProjectTurns
from penstock_ingest.waiting import CommitWait, is_stored
from penstock_storage.contracts.interface import RunRef

__all__ = ["BatchHandler"]

_MAX_IDEMPOTENCY_KEY_CHARS = 255
_MAX_AGE_DIGITS = 15
_NO_WAIT = checked_query({}, QUEUE_BATCHES)


class BatchHandler:
    """The write path of one gateway process."""

    def __init__(
        self,
        authenticator: Authenticator,
        appender: Appender,
        positions: WriterPositions,
        bodies: BodyReader,
        status: ServerStatus,
        pace: Pace,
        quota: Quota,
        deletions: DeletedRuns,
        bound_check: BoundCheck,
        metrics: GatewayMetrics,
        decoding: Decoding,
    ) -> None:
        self._authenticator = authenticator
        self._appender = appender
        self._positions = positions
        self._bodies = bodies
        self._status = status
        self._pace = pace
        self._quota = quota
        self._deletions = deletions
        self._bound_check = bound_check
        self._metrics = metrics
        self._decoding = decoding
        self._limits = decoding.limits
        self._wire_bytes = metrics.bytes.labels("wire")
        self._decoded_bytes = metrics.bytes.labels("decoded")
        self._turns = ProjectTurns()
        self._reports = ClientReports(metrics)
        self._wait = CommitWait(positions, status)
        self._queued = metrics.batches.labels("queued")
        self._duplicate = metrics.batches.labels("duplicate")

    async def post(self, request: web.Request) -> web.Response:
        """Queue the batches of the body: see docs/api.md."""
        try:
            asked = (
                checked_query(request.query, QUEUE_BATCHES) if request.query_string else _NO_WAIT
            )
            kind = request.headers.get("Content-Type", "")
            if kind != CONTENT_TYPE:  # aiohttp parses it for every request
                kind = request.content_type
            appended = await self._take(request, kind)
        except (Rejected, Transient) as error:
            self._count_refusal(error)
            if isinstance(error, OverQuota):
                await self._quota.hold(error)
            raise
        self._pace.count(len(appended))
        positions = [each.position for each in appended]
        # No client keeps a copy of JSON rows: do not leave them in a queue that may lose them.
        is_at_risk = kind != CONTENT_TYPE and bool(self._status.queue_problem)
        if asked.wait or is_at_risk:
            self._appender.commit_soon(positions)
            positions = await self._wait.until_stored(_latest(positions), asked.timeout_s)
        if is_at_risk and not is_stored(positions):
            raise Transient(
                f"the rows are not stored yet, and the queue is not safe:"
                f" {self._status.queue_problem}",
                code=ErrorCode.QUEUE_UNSAFE,
                hint="Send them again with the same Idempotency-Key.",
            )
        return self._reply(positions, status=200 if asked.wait and is_stored(positions) else 202)

    async def writer(self, request: web.Request) -> web.Response:
        """A writer's position, for a client that has nothing to send but waits for commits."""
        principal = await self._authenticator.authenticate(request.headers)
        names = request.match_info
        asked = None if names["entity"] == "-" else names["entity"]
        entity = checked_entity(asked, principal, self._limits)
        ref = RunRef(entity, names["project"], names["run"])
        if self._deletions.knows(ref):
            await self._deletions.check_writer(ref, names["writer"])
        name = WriterName(entity, names["project"], names["run"], names["writer"])
        return self._reply(await self._positions.fetch([name]), status=200)

    async def _take(self, request: web.Request, kind: str) -> list[Appended]:
        principal = await self._authenticator.authenticate(request.headers)
        self._status.check()
        if kind not in (CONTENT_TYPE, "application/json"):
            raise Rejected(
                f"Content-Type {kind!r} is not accepted",
                code=ErrorCode.UNKNOWN_CONTENT_TYPE,
                hint=f"Send {CONTENT_TYPE} (batches) or application/json (rows).",
            )
        look = self._early_look(principal) if kind == CONTENT_TYPE else None
        async with self._bodies.body(request, owner=principal.key, look=look) as body:
            with self._decoding.share() as share:
                if kind == CONTENT_TYPE:
                    age_us = _age_us(request.headers.get(AGE_HEADER))
                    return await self._take_batches(body, principal, share, age_us)
                return await self._take_rows(body, principal, request, share)

    def _may_refuse_early(self, principal: Principal) -> bool:
        """Whether a body may be refused for the project that it begins with. A key for all entities says nothing about
        whose project that is."""
        is_own = "admin" not in principal.scopes and principal.may_write(principal.entity)
        return is_own and self._quota.is_limited and self._quota.has_debtors

    def _early_look(self, principal: Principal) -> Callable[[bytes], None] | None:
        """Looks at the first bytes of a body: raises `OverQuota` if its project is in debt."""
        if not self._may_refuse_early(principal):
            return None
        return lambda first: self._refuse_debtor(principal, project_of_body(first))

    def _refuse_debtor(self, principal: Principal, project: str | None) -> None:
        if project is not None:
            self._quota.check((principal.entity, project))

    async def _take_batches(
        self, body: bytes, principal: Principal, share: Share, age_us: int | None
    ) -> list[Appended]:
        raws = split_body(body, self._limits)
        if self._may_refuse_early(principal):
            self._refuse_debtor(principal, project_of(raws[0], self._limits))
        small = share.small_batch(raws)
        if small is not None and not self._quota.is_limited:
            return [await self._take_small(small, raws[0], principal, age_us)]
        batches = [small] if small is not None else await share.batches(raws)
        entities = [checked_entity(batch.entity, principal, self._limits) for batch in batches]
        for entity, batch in zip(entities, batches, strict=True):
            await self._check(RunRef(entity, batch.project, batch.run), batch, age_us)
        self._admit(entities, batches)
        if len(batches) == 1:  # the common case needs no task of its own
            return [await self._append(entities[0], batches[0], raws[0], age_us)]
        appended = await asyncio.gather(
            *map(self._append, entities, batches, raws, repeat(age_us)), return_exceptions=True
        )
        # Each was queued and counted, or not: the reply is that of the first that was not.
        for each in appended:
            if isinstance(each, BaseException):
                raise each
        return cast(list[Appended], appended)

    async def _take_small(
        self, batch: Batch, raw: bytes, principal: Principal, age_us: int | None
    ) -> Appended:
        """The common case, one small batch without a quota, in as few steps as possible."""
        entity = checked_entity(batch.entity, principal, self._limits)
        ref = RunRef(entity, batch.project, batch.run)
        if self._bound_check.is_scarce or self._deletions.knows(ref):
            await self._check(ref, batch, age_us)
        self._admit([entity], [batch])
        project = (entity, batch.project)
        if not self._turns.take(project):
            await self._turns.wait(project)
        try:
            appended = await self._appender.append(
                *ref, batch.writer, batch.seq, raw, batch.decoded, age_us,
                is_urgent=is_urgent(batch),
            )  # fmt: skip
        finally:
            self._turns.end(project)
        self._count(batch, len(raw), is_new=appended.is_new)
        return appended

    async def _check(self, ref: RunRef, batch: Batch, age_us: int | None) -> None:
        """Raises `Rejected` if the run was deleted, or it or the writer is beyond a bound."""
        await self._refuse_deleted(ref.entity, batch, batch.writer, age_us)
        if self._bound_check.is_scarce:
            await self._bound_check.check(ref, batch.writer)

    async def _append(self, entity: str, batch: Batch, raw: bytes, age_us: int | None) -> Appended:
        append = partial(
            self._appender.append,
            entity, batch.project, batch.run, batch.writer, batch.seq, raw, batch.decoded,
            age_us, is_urgent=is_urgent(batch),
        )  # fmt: skip
        return await self._counted(entity, batch, len(raw), append)

    async def _counted(
        self, entity: str, batch: Batch, size: int, append: Callable[[], Awaitable[Appended]]
    ) -> Appended:
        """Append an admitted batch in its project's turn, and count it."""
        is_new, project = False, (entity, batch.project)
        try:
            if not self._turns.take(project):
                await self._turns.wait(project)
            try:
                appended = await append()
                is_new = appended.is_new
            finally:
                self._turns.end(project)
        finally:
            if self._quota.is_limited and not is_new:
                self._quota.give_back(project, _weight(batch))
        self._count(batch, size, is_new=is_new)
        return appended

    async def _take_rows(
        self, body: bytes, principal: Principal, request: web.Request, share: Share
    ) -> list[Appended]:
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > _MAX_IDEMPOTENCY_KEY_CHARS:
            raise Rejected("Idempotency-Key is too long", code=ErrorCode.BAD_IDEMPOTENCY_KEY)
        share.reserve(json_size(body, self._limits))
        made = await share.aside(batches_from_json, body, self._limits)
        batches = [each.batch for each in made]
        share.holds(*(batch.decoded for batch in batches))
        entity = checked_entity(batches[0].entity, principal, self._limits)
        await self._refuse_deleted(entity, batches[0], "http-", None)
        await self._bound_check.check(RunRef(entity, batches[0].project, batches[0].run))
        self._admit([entity] * len(made), batches)
        digest = hashlib.sha256(body).hexdigest()
        appended: list[Appended] = []
        try:
            for number, (batch, raw) in enumerate(made):
                # Each batch has a key of its own, so that a repeat completes a request that broke off.
                own_key = f"{key}\n{number}" if key and number else key
                append = partial(
                    self._appender.append_rows,
                    entity, batch.project, batch.run, raw, batch.decoded,
                    key=own_key, digest=digest, is_urgent=bool(batch.records),
                )  # fmt: skip
                size = 0 if number else len(body)
                appended.append(await self._counted(entity, batch, size, append))
        finally:
            for batch in batches[len(appended) + 1 :] if self._quota.is_limited else ():
                self._quota.give_back((entity, batch.project), _weight(batch))
        return appended

    async def _refuse_deleted(
        self, entity: str, batch: Batch, writer: str, age_us: int | None
    ) -> None:
        """Raises `Rejected` (410) for a batch of a deleted run."""
        ref = RunRef(entity, batch.project, batch.run)
        if self._deletions.knows(ref):
            now = time.time_ns() // 1000
            began = batch.writer_started if age_us is None else now - age_us
            await self._deletions.check_batch(ref, writer, began, now)

    def _admit(self, entities: list[str], batches: list[Batch]) -> None:
        """Charge all batches of a body to their quotas, or none.

        Raises `Transient`: 429 over a project's quota, 503 if a shard is full.
        """
        if self._status.full_shards:
            for entity, batch in zip(entities, batches, strict=True):
                self._status.check_shard(shard_of(run_path(entity, batch.project, batch.run)))
        if self._quota.is_limited:
            taken: list[tuple[tuple[str, str], int]] = []
            try:
                for entity, batch in zip(entities, batches, strict=True):
                    project, weight = (entity, batch.project), _weight(batch)
                    self._quota.take(project, weight)
                    taken.append((project, weight))
            except Transient:
                for project, weight in taken:
                    self._quota.give_back(project, weight)
                raise

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

    def _reply(self, positions: list[WriterPosition], status: int) -> web.Response:
        last = positions[-1]
        payload: dict[str, Any] = {
            "queued": last.queued,
            "committed": last.committed,
            "queue": last.queue,
            "store": self._status.store,
            "interval_s": self._pace.interval_s,
            "commands": [],
            "marks": _latest(positions),
            "dead": last.dead,
        }
        return json_response(payload, status=status)


def _age_us(text: str | None) -> int | None:
    """How long a writer has run: unlike the time of its start, this depends on no machine's clock."""
    if text is None or not (text.isascii() and text.isdecimal()) or len(text) > _MAX_AGE_DIGITS:
        return None
    return int(text)


def _latest(positions: list[WriterPosition]) -> list[WriterPosition]:
    """Each writer's last position."""
    if len(positions) == 1:
        return positions
    by_writer: dict[WriterName, WriterPosition] = {}
    for position in positions:
        name = WriterName(position.entity, position.project, position.run, position.writer)
        known = by_writer.get(name)
        if known is None or position.queued >= known.queued:
            by_writer[name] = position
    return list(by_writer.values())


def _weight(batch: Batch) -> int:
    """What a batch costs of its project's quota: its points plus its records."""
    return max(1, batch.points + len(batch.records))


_OUTCOMES = (ErrorCode.CONFLICT, ErrorCode.DELETED, ErrorCode.OVERLOADED, ErrorCode.PARKED)
"""Codes that are an outcome of their own."""


def _outcome(error: Rejected | Transient) -> str:
    if error.status in (401, 403):
        return "unauthorized"
    if error.status == 413:
        return "too_large"
    if error.status == 429:
        return "quota"
    if error.code in _OUTCOMES:
        return error.code
    return "queue_error" if isinstance(error, Transient) else "invalid"


def _reason(error: Rejected | Transient) -> str:
    if error.status == 401:
        return "unauthorized"
    if error.code in REJECTIONS:
        return error.code
    return "queue_unavailable" if error.code.startswith("queue_") else "other"
