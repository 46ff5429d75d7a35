"""Appending batches to the queue: the line after which a 2xx is allowed.

Batches of requests that run at the same time go to Redis in one write (group commit), one script per
batch. There are no retries here: a failed append may have happened, and only the client, who
has the number, can repeat it safely.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
import time
from dataclasses import dataclass

from hiredis import ReplyError
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, RedisError, TimeoutError

from penstock.errors import Rejected, Transient
from penstock.failpoints import fail
from penstock_common.keys import SHARDS, Keys, run_path, shard_of, writer_key
from penstock_common.metrics import GatewayMetrics
from penstock_common.scripts import APPEND, APPEND_ROWS
from penstock_ingest.pipe import Pipe

__all__ = ["Appended", "Appender", "Mark"]

_APPEND, _APPEND_ROWS = (
    hashlib.sha1(script.encode()).hexdigest()  # noqa: S324  (Redis names scripts so)
    for script in (APPEND, APPEND_ROWS)
)
_SCRIPTS = {_APPEND: APPEND, _APPEND_ROWS: APPEND_ROWS}
_IDEMPOTENCY_S = 24 * 3600


@dataclass(slots=True)
class Mark:
    """Where a writer stands: `queued` = this number was accepted; `committed` = every number up to
    this one is in the store (None: the queue does not know); `queue` changes when Redis loses data."""

    project: str
    run: str
    writer: str
    queued: int
    committed: int | None
    queue: str


@dataclass(slots=True)
class Appended:
    mark: Mark
    is_new: bool


class Appender:
    """Appends to the streams of all shards through `pipe`; looks marks up through `redis`."""

    def __init__(self, pipe: Pipe, redis: Redis, keys: Keys, metrics: GatewayMetrics) -> None:
        self._pipe = pipe
        self._redis = redis
        self._keys = keys
        self._metrics = metrics
        self._shard_keys = [
            (keys.stream(shard), keys.seen(shard), keys.committed(shard), keys.incarnation(shard))
            for shard in range(SHARDS)
        ]
        self._process = secrets.token_hex(6)
        self._calls = itertools.count()

    async def append(
        self, entity: str, project: str, run: str, writer: str, seq: int, raw: bytes
    ) -> Appended:
        """Queue one batch under its number. Raises `Transient` if Redis did not answer well."""
        path = run_path(entity, project, run)
        shard = shard_of(path)
        added, committed, incarnation = await self._run(
            _APPEND,
            4,
            *self._shard_keys[shard],
            self._new_incarnation(),
            writer_key(path, writer),
            seq,
            raw,
            time.time_ns() // 1000,
        )
        mark = self._mark(project, run, writer, seq, committed, shard, incarnation)
        return Appended(mark, bool(added))

    async def append_rows(
        self, entity: str, project: str, run: str, raw: bytes, *, key: str, digest: str
    ) -> Appended:
        """Queue a batch that the queue numbers; `key` is the request's Idempotency-Key or ''.

        Raises `Rejected` (409) if the key was used for a request with another digest.
        """
        path = run_path(entity, project, run)
        shard = shard_of(path)
        status, committed, incarnation, seq = await self._run(
            _APPEND_ROWS,
            6,
            *self._shard_keys[shard],
            self._keys.http_seq(shard),
            self._keys.idempotency(shard, path, key),
            self._new_incarnation(),
            path,
            raw,
            time.time_ns() // 1000,
            digest if key else "",
            _IDEMPOTENCY_S,
        )
        if int(status) == 2:
            raise Rejected(
                "this Idempotency-Key was used for another request",
                code="idempotency_conflict",
                status=409,
                hint="Use a new key for each new request.",
            )
        writer = f"http-{incarnation.decode()}"
        mark = self._mark(project, run, writer, int(seq), committed, shard, incarnation)
        return Appended(mark, int(status) == 1)

    async def mark(self, entity: str, project: str, run: str, writer: str) -> Mark:
        """Where a writer stands, without sending anything (`queued` is 0)."""
        path = run_path(entity, project, run)
        shard = shard_of(path)
        try:
            committed = await self._redis.hget(
                self._keys.committed(shard), writer_key(path, writer)
            )
            incarnation = await self._redis.get(self._keys.incarnation(shard))
        except RedisError as error:
            raise self._unavailable(error) from error
        return self._mark(project, run, writer, 0, committed, shard, incarnation)

    def _mark(
        self,
        project: str,
        run: str,
        writer: str,
        seq: int,
        committed: bytes | str | None,
        shard: int,
        incarnation: bytes | str | None,
    ) -> Mark:
        known = int(committed) if committed is not None else None
        text = incarnation.decode() if isinstance(incarnation, bytes) else incarnation or ""
        return Mark(project, run, writer, seq, known, f"{shard}-{text}")

    def _new_incarnation(self) -> str:
        """A name that no queue ever had, for the case that this one has just lost its own."""
        return f"{self._process}{next(self._calls):x}"

    async def _run(self, sha: str, key_count: int, *args: str | bytes | int) -> list[bytes]:
        started = time.perf_counter()
        fail("gateway.before_append")
        try:
            reply = await self._pipe.execute(("EVALSHA", sha, key_count, *args))
            if isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT"):
                # A Redis that was restarted has forgotten the scripts; the command did not run.
                reply = await self._pipe.execute(("EVAL", _SCRIPTS[sha], key_count, *args))
        except RedisError as error:
            raise self._unavailable(error) from error
        if isinstance(reply, ReplyError):
            raise self._unavailable(reply)
        fail("gateway.after_append")
        self._metrics.append_seconds.observe(time.perf_counter() - started)
        return list(reply)

    def _unavailable(self, error: Exception) -> Transient:
        kind = _kind(error)
        self._metrics.append_errors.labels(kind).inc()
        return Transient(f"the queue cannot take batches now ({kind})", code=f"queue_{kind}")


def _kind(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    text = str(error).upper()
    known = (kind for kind in ("oom", "misconf", "readonly", "loading") if kind.upper() in text)
    return next(known, "connection" if isinstance(error, ConnectionError) else "other")
