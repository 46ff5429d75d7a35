"""Appends batches to the queue: only after this may a reply be 2xx. The script dedupes by number.

Batches of concurrent requests go to Redis in one write (group commit), one script call per batch.
There is no retry here: a failed append may have happened, and only the client, which has the number,
can repeat it safely.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hiredis import ReplyError
from redis.exceptions import RedisError

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient
from penstock.failpoints import fail
from penstock.ids import new_gateway_id
from penstock.wire import DEFAULT_LIMITS, DecodedSize, Limits
from penstock_common.process.metrics import GatewayMetrics
from penstock_common.queue.redis_keys import SHARDS, RedisKeys, run_path, shard_of, writer_key
from penstock_common.queue.scripts import APPEND, APPEND_ROWS
from penstock_ingest.bells import Bells
from penstock_ingest.conflicts import differs_from_committed, differs_from_queued
from penstock_ingest.pipe import Pipe
from penstock_ingest.positions import WriterName, WriterPosition, dead_numbers, queue_id, reached
from penstock_ingest.queue_errors import unavailable

__all__ = ["Appended", "Appender"]

_APPEND, _APPEND_ROWS = (
    hashlib.sha1(script.encode()).hexdigest()  # noqa: S324  (how Redis names scripts)
    for script in (APPEND, APPEND_ROWS)
)
_SCRIPTS = {_APPEND: APPEND, _APPEND_ROWS: APPEND_ROWS}
_IDEMPOTENCY_S = 24 * 3600
# The first item of the scripts' replies.
_ADDED, _QUEUED, _KEY_USED, _NO_ROOM = 1, 2, 2, 4
_PARKED_RETRY_S = 60.0


_UNKNOWN = ("", "")


@dataclass(slots=True)
class Appended:
    position: WriterPosition
    is_new: bool


class Appender:
    """Appends to the streams of all shards through `pipe`."""

    def __init__(
        self, pipe: Pipe, keys: RedisKeys, metrics: GatewayMetrics, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._pipe = pipe
        self._keys = keys
        self._metrics = metrics
        self._limits = limits
        self._shard_keys = [
            (
                keys.stream(shard),
                keys.pending(shard),
                keys.committed(shard),
                keys.incarnation(shard),
                keys.dead_seqs(shard),
            )
            for shard in range(SHARDS)
        ]
        self._parked = [(keys.parked(shard), keys.parked_bytes(shard)) for shard in range(SHARDS)]
        self._append_keys = [
            (*self._shard_keys[shard], keys.digests(shard), *self._parked[shard])
            for shard in range(SHARDS)
        ]
        self._bells = Bells(pipe, keys)
        self._process = new_gateway_id()
        self._calls = itertools.count()

    async def append(
        self,
        entity: str,
        project: str,
        run: str,
        writer: str,
        seq: int,
        raw: bytes,
        decoded: DecodedSize | None = None,
        age_us: int | None = None,
        *,
        is_urgent: bool = True,
    ) -> Appended:
        """Queue one batch under its number; `decoded`: its size once decoded, if known; `age_us`: for how
        long its writer has run, if that is known; `is_urgent`: workers must commit it at once.

        Raises `Transient` if Redis fails, or if the writer is parked and has no room left; `Rejected`
        (409) if the number has another batch already.
        """
        path = run_path(entity, project, run)
        shard = shard_of(path)
        now = time.time_ns() // 1000
        status, committed, incarnation, dead, known = await self._run(
            _APPEND,
            8,
            *self._append_keys[shard],
            self._new_incarnation(),
            writer_key(path, writer),
            seq,
            raw,
            now,
            *(decoded or _UNKNOWN),
            *(() if age_us is None else (now - age_us,)),
        )
        if status == _NO_ROOM:
            raise _no_room()
        if known is not None:
            await self._refuse_conflict(status, seq, raw, known, writer)
        if status == _ADDED:
            size = len(raw) if decoded is None else decoded.bytes
            self._bells.added(shard, size, is_urgent=is_urgent)
        name = WriterName(entity, project, run, writer)
        position = self._position(name, seq, committed, shard, incarnation, dead)
        return Appended(position, status == _ADDED)

    async def append_rows(
        self,
        entity: str,
        project: str,
        run: str,
        raw: bytes,
        decoded: DecodedSize | None = None,
        *,
        key: str,
        digest: str,
        is_urgent: bool = True,
    ) -> Appended:
        """Queue a batch that the queue numbers; `key` is the request's Idempotency-Key or ''; `is_urgent`:
        workers must commit it at once.

        Raises `Rejected` (409) if the key was used for a request with another digest.
        """
        path = run_path(entity, project, run)
        shard = shard_of(path)
        status, committed, incarnation, dead, seq = await self._run(
            _APPEND_ROWS,
            9,
            *self._shard_keys[shard],
            self._keys.http_seq(shard),
            self._keys.idempotency(shard, path, key),
            *self._parked[shard],
            self._new_incarnation(),
            path,
            raw,
            time.time_ns() // 1000,
            digest if key else "",
            _IDEMPOTENCY_S,
            *(decoded or _UNKNOWN),
        )
        if status == _NO_ROOM:
            raise _no_room()
        if status == _KEY_USED:
            raise Rejected(
                "this Idempotency-Key was used for another request",
                code=ErrorCode.IDEMPOTENCY_CONFLICT,
            )
        if status == _ADDED:
            size = len(raw) if decoded is None else decoded.bytes
            self._bells.added(shard, size, is_urgent=is_urgent or int(seq) == 1)
        name = WriterName(entity, project, run, f"http-{incarnation.decode()}")
        position = self._position(name, int(seq), committed, shard, incarnation, dead)
        return Appended(position, status == _ADDED)

    def commit_soon(self, positions: Iterable[WriterPosition]) -> None:
        """Ask workers to commit what is queued for these writers: somebody waits for it."""
        self._bells.ring({shard_of(run_path(p.entity, p.project, p.run)) for p in positions})

    async def _refuse_conflict(
        self, status: int, seq: int, raw: bytes, known: bytes, writer: str
    ) -> None:
        """Raises `Rejected` (409) if another batch has this number."""
        differs = (
            await differs_from_queued(raw, known, self._limits)
            if status == _QUEUED
            else await differs_from_committed(seq, raw, known, self._limits)
        )
        if differs:
            raise Rejected(
                f"another batch of {writer!r} has the number {seq} already; that one stays",
                code=ErrorCode.CONFLICT,
            )

    def _position(
        self,
        name: WriterName,
        seq: int,
        committed: bytes | None,
        shard: int,
        incarnation: bytes,
        dead: bytes | None,
    ) -> WriterPosition:
        queue = queue_id(shard, incarnation, self._pipe.server)
        gone = dead_numbers(dead)
        return WriterPosition(*name, seq, reached(committed, gone), queue, gone)

    def _new_incarnation(self) -> str:
        """A name that no queue ever had, in case this one has just lost its own."""
        return f"{self._process}{next(self._calls):x}"

    async def _run(self, sha: str, key_count: int, *args: str | bytes | int) -> list[Any]:
        started = time.perf_counter()
        fail("gateway.before_append")
        try:
            reply = await self._pipe.execute(("EVALSHA", sha, key_count, *args))
            if isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT"):
                # A restarted Redis has lost the scripts; the command did not run.
                reply = await self._pipe.execute(("EVAL", _SCRIPTS[sha], key_count, *args))
        except RedisError as error:
            raise unavailable(error, self._metrics) from error
        if isinstance(reply, ReplyError):
            raise unavailable(reply, self._metrics)
        fail("gateway.after_append")
        self._metrics.append_seconds.observe(time.perf_counter() - started)
        return list(reply)


def _no_room() -> Transient:
    return Transient(
        "the batches of this writer cannot be processed now, and no more of them are kept",
        code=ErrorCode.PARKED,
        retry_after_s=_PARKED_RETRY_S,
    )
