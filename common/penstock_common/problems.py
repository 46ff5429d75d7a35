"""Stated problems: what is wrong with an installation now, in plain words, with what to do about it.

Any part can report one. It is listed by `/readyz`, counted in the metrics and shown on the page
until it is cleared, or until nobody has told it again for its time to live. So a problem goes away by
itself when its cause does, or when the process that knew of it is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock_common.redis_keys import RedisKeys

__all__ = ["PROBLEMS", "Problem", "ProblemKind", "Problems", "ordered", "read_problems"]

_LOG = logging.getLogger(__name__)
_TTL_S = 60.0
_MAX_PROBLEMS = 200
_MAX_TEXT_CHARS = 500


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A kind of problem: what to do about it, and whether it stops what clients send from being
    taken and stored."""

    hint: str
    stops: bool = False


PROBLEMS = {
    "queue_unreachable": ProblemKind(
        "Start Redis, or see why it does not answer. Clients keep what they log until it does.", True
    ),
    "queue_unsafe": ProblemKind(
        "Correct Redis' settings. Clients keep what they log until then.", True
    ),
    "queue_full": ProblemKind(
        "It empties as workers catch up; if it does not, see what holds them up. Clients keep what "
        "they log and send it later.", True
    ),
    "store_unreachable": ProblemKind(
        "Start the point store, or see its log. What is logged waits in the queue.", True
    ),
    "catalog_unreachable": ProblemKind(
        "Start the database of the catalog, or see why it does not answer.", True
    ),
    "queue_nearly_full": ProblemKind(
        "It empties as workers catch up; if it does not, see what holds them up, or give Redis more "
        "memory."
    ),
    "no_workers": ProblemKind("Start a worker: what is logged is queued, but not stored.", True),
    "part_down": ProblemKind("It is started again by itself; if it keeps ending, its log says why.", True),
    "part_silent": ProblemKind("It is replaced by itself if it stays silent; its log may say why.", True),
    "worker_at_fault": ProblemKind(
        "Nothing is discarded: batches stay queued, and clients keep their copies. See the worker's "
        "log; you may have to roll back the last release.", True
    ),
    "shard_stalled": ProblemKind(
        "Batches wait, but none of them is stored. See the workers' logs.", True
    ),
    "writers_parked": ProblemKind(
        "Their batches cannot be processed and are kept. `penstock dead list` says why."
    ),
    "disk_low": ProblemKind("Free some space or enlarge the disk before it is full."),
    "disk_full": ProblemKind(
        "Free some space or enlarge the disk. Clients keep what they log until then.", True
    ),
    "store_damaged": ProblemKind(
        "What clients still hold is sent again by itself; a backup has the rest. See to the disk."
    ),
    "queue_damaged": ProblemKind("A damaged end of the queue's file was cut off and kept beside it."),
    "catalog_damaged": ProblemKind(
        "A restart of `penstock up` takes over what can be read; a backup has the rest."
    ),
    "bound_reached": ProblemKind("Log fewer keys, writers or runs, or split them over several runs."),
}  # fmt: skip
"""The closed set of kinds, by code."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `subject` tells apart what several parts may tell of one kind: a part,
    a run, a folder. `since` is in seconds of the epoch. Only those who may read `entity`, if there is
    one, may know what it says."""

    code: str
    text: str
    subject: str = ""
    since: float = 0.0
    entity: str = ""

    @property
    def stops(self) -> bool:
        return PROBLEMS[self.code].stops

    def redacted(self) -> Problem:
        """The same without anything that names what belongs to an entity."""
        if not self.entity:
            return self
        return replace(self, text="Somebody's project or run is concerned.", subject="")

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
        """This is wrong now. To be told again within `ttl_s` while it lasts.

        Best effort: where Redis cannot take it, that is a problem of its own, which others see.
        """
        if code not in PROBLEMS:
            raise ValueError(f"{code!r} is no kind of problem")
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
        """This is no longer wrong. Best effort: what is not told again goes away anyway."""
        try:
            await self._redis.hdel(self._key, f"{code}/{subject}")
        except (RedisError, OSError, TimeoutError) as error:
            _LOG.warning("problem_not_cleared code=%s error=%s", code, type(error).__name__)

    async def all(self) -> list[Problem]:
        """What is wrong now, the gravest first. Raises what Redis does."""
        seconds, _ = await self._redis.time()
        return ordered(read_problems(await self._redis.hgetall(self._key), seconds))


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """Those that stop something first, then the oldest."""
    return sorted(problems, key=lambda each: (not each.stops, each.since, each.code, each.subject))


def read_problems(fields: Mapping[Any, Any], now: float) -> Iterable[Problem]:
    """What the hash holds; `now` is Redis' time in seconds."""
    for field, value in fields.items():
        code, _, subject = field.decode(errors="replace").partition("/")
        try:
            since, until, text, entity = orjson.loads(value)
        except (ValueError, TypeError):
            continue
        # Another release may tell of kinds that this one does not know.
        if until > now and code in PROBLEMS:
            yield Problem(code, str(text), subject, float(since), str(entity))


# KEYS: problems   ARGV: code/subject, text, time to live (s), most that are kept, entity
# Redis' own clock: those that tell run on many machines.
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
