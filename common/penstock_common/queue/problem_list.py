"""The list of an installation's problems, in Redis."""

from __future__ import annotations

import logging

from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock_common.queue.problems import PROBLEMS, Problem, ordered, read_problems
from penstock_common.queue.redis_keys import RedisKeys

__all__ = ["Problems"]

_LOG = logging.getLogger(__name__)
_TTL_S = 60.0
_MAX_PROBLEMS = 200
_MAX_TEXT_CHARS = 500


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
