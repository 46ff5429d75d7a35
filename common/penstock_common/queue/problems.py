"""Problems of an installation, in plain words, with what to do about them.

Any part can report one. It is listed by `/readyz`, counted in the metrics and shown on the page until
it is cleared, or has not been reported again within its time to live. So a problem disappears by
itself when its cause does, or when the process that reported it is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock_common.queue.redis_keys import RedisKeys

__all__ = ["PROBLEMS", "Problem", "ProblemKind", "Problems", "ordered", "read_problems"]

_LOG = logging.getLogger(__name__)
_TTL_S = 60.0
_MAX_PROBLEMS = 200
_MAX_TEXT_CHARS = 500


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A kind of problem: what to do about it, and whether it stops data from being accepted and stored."""

    hint: str
    stops: bool = False


PROBLEMS = {
    "queue_unreachable": ProblemKind(
        "Start Redis, or find out why it does not answer. Clients keep their data until it does.", True
    ),
    "queue_unsafe": ProblemKind(
        "Correct the settings of Redis. Clients keep their data until then.", True
    ),
    "queue_full": ProblemKind(
        "It empties as workers catch up; if it does not, check the workers. Clients keep their "
        "data and send it later.", True
    ),
    "store_unreachable": ProblemKind(
        "Start the point store, or check its log. New data waits in the queue.", True
    ),
    "catalog_unreachable": ProblemKind(
        "Start the catalog's database, or find out why it does not answer.", True
    ),
    "queue_nearly_full": ProblemKind(
        "It empties as workers catch up; if it does not, check the workers, or give Redis more memory."
    ),
    "no_workers": ProblemKind("Start a worker: new data is queued, but not stored.", True),
    "part_down": ProblemKind("It restarts automatically; if it keeps failing, see its log.", True),
    "part_silent": ProblemKind("It is replaced automatically if it stays silent; see its log.", True),
    "worker_at_fault": ProblemKind(
        "Nothing is discarded: batches stay queued, and clients keep their copies. See the worker's "
        "log; you may have to roll back the last release.", True
    ),
    "shard_stalled": ProblemKind(
        "Batches wait, but none is stored. See the workers' logs.", True
    ),
    "writers_parked": ProblemKind(
        "Their batches cannot be processed and are kept. `penstock dead list` shows the reasons."
    ),
    "disk_low": ProblemKind("Free some space or enlarge the disk before it is full."),
    "disk_full": ProblemKind(
        "Free some space or enlarge the disk. Clients keep their data until then.", True
    ),
    "store_damaged": ProblemKind(
        "Clients automatically send again what they still hold; a backup has the rest. Check the disk."
    ),
    "queue_damaged": ProblemKind("A damaged end of the queue's file was cut off and kept next to it."),
    "catalog_damaged": ProblemKind(
        "A restart of `penstock up` saves what is readable; a backup has the rest."
    ),
    "bound_reached": ProblemKind("Log fewer keys, writers or runs, or split them over several runs."),
}  # fmt: skip
"""All kinds, by code."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `subject` distinguishes problems of one kind: a part, a run, a folder. `since` is in
    seconds of the epoch. If there is an `entity`, only callers who may read it may see the text."""

    code: str
    text: str
    subject: str = ""
    since: float = 0.0
    entity: str = ""

    @property
    def stops(self) -> bool:
        return PROBLEMS[self.code].stops

    def redacted(self) -> Problem:
        """The same without anything that belongs to an entity."""
        if not self.entity:
            return self
        return replace(self, text="This concerns a project or run that you cannot see.", subject="")

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "code": self.code,
            "text": self.text,
            "subject": self.subject,
            "since": self.since,
            "hint": PROBLEMS[self.code].hint,
            "stops": self.stops,
        }


class Problems:
    """The problems of an installation, in Redis."""

    def __init__(self, redis: Redis, keys: RedisKeys) -> None:
        self._redis = redis
        self._key = keys.problems()

    async def tell(
        self, code: str, text: str, *, subject: str = "", entity: str = "", ttl_s: float = _TTL_S
    ) -> None:
        """Report a problem; report it again within `ttl_s` while it lasts.

        Best effort: if Redis cannot take it, that is a problem of its own, which others see.
        """
        if code not in PROBLEMS:
            raise ValueError(f"{code!r} is not a kind of problem")
        arguments = (
            f"{code}/{subject}",
            text[:_MAX_TEXT_CHARS],
            str(ttl_s),
            str(_MAX_PROBLEMS),
            entity,
        )
        try:
            await self._redis.eval(_TELL, 1, self._key, *arguments)
        except (RedisError, OSError, TimeoutError) as error:
            _LOG.warning("problem_not_told code=%s error=%s", code, type(error).__name__)

    async def clear(self, code: str, *, subject: str = "") -> None:
        """The problem is solved. Best effort: one that is not reported again expires anyway."""
        try:
            await self._redis.hdel(self._key, f"{code}/{subject}")
        except (RedisError, OSError, TimeoutError) as error:
            _LOG.warning("problem_not_cleared code=%s error=%s", code, type(error).__name__)

    async def all(self) -> list[Problem]:
        """The current problems, the gravest first. Raises what Redis does."""
        seconds, _ = await self._redis.time()
        return ordered(read_problems(await self._redis.hgetall(self._key), seconds))


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """Those that stop something first, then the oldest."""
    return sorted(problems, key=lambda each: (not each.stops, each.since, each.code, each.subject))


def read_problems(fields: Mapping[Any, Any], now: float) -> Iterable[Problem]:
    """The problems in the hash; `now` is Redis' time in seconds."""
    for field, value in fields.items():
        code, _, subject = field.decode(errors="replace").partition("/")
        try:
            since, until, text, entity = orjson.loads(value)
        except (ValueError, TypeError):
            continue
        # Another release may report kinds that this one does not know.
        if until > now and code in PROBLEMS:
            yield Problem(code, str(text), subject, float(since), str(entity))


# KEYS: problems   ARGV: code/subject, text, time to live (s), maximal number, entity
# Redis' own clock: processes on many machines report.
_TELL = """
local now = tonumber(redis.call('TIME')[1])
local since = now
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then
  local ok, last = pcall(cjson.decode, known)
  if ok and last[2] > now then since = last[1] end
elseif redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    local ok, last = pcall(cjson.decode, redis.call('HGET', KEYS[1], field))
    if not ok or last[2] <= now then redis.call('HDEL', KEYS[1], field) end
  end
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return 0 end
end
local value = cjson.encode({since, now + tonumber(ARGV[3]), ARGV[2], ARGV[5]})
redis.call('HSET', KEYS[1], ARGV[1], value)
redis.call('EXPIRE', KEYS[1], 86400)
return 1
"""
