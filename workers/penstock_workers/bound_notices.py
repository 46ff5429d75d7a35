"""Says whose bound is reached, so that gateways refuse what could only be set aside here, and people
learn of it.

What is said holds for a minute and is said again while it is true: when room is made, or this worker
is gone, it passes by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from redis.asyncio import Redis

from penstock_common.bounds import Owner, refusal
from penstock_common.problems import Problems
from penstock_common.redis_keys import RedisKeys
from penstock_storage.interface import Catalog

__all__ = ["BoundNotices"]

_HOLDS_S = 60
_MAX_OWNERS = 1_000
_PROBLEM, _MAX_PROBLEMS = "bound_reached", 20


class BoundNotices:
    """The entities, projects and runs that this worker found to be full."""

    def __init__(self, redis: Redis, keys: RedisKeys, catalog: Catalog, problems: Problems) -> None:
        self._redis = redis
        self._problems = problems
        self._key = keys.at_bound()
        self._catalog = catalog
        self._told: set[Owner] = set()

    async def tell(self, beyond: Iterable[Owner] = ()) -> None:
        """These runs needed one more run or writer than there is room for; and what was told before
        is told again, or taken back if there is room now."""
        asked = {owner for each in set(beyond) for owner in _owners(each)}
        asked = {*self._told, *sorted(asked)[:_MAX_OWNERS]}
        if not asked:
            return
        full = await self._catalog.at_bound(asked)
        freed, self._told = self._told - full, set(sorted(full)[:_MAX_OWNERS])
        now, _ = await self._redis.time()
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("ZREMRANGEBYSCORE", self._key, "-inf", now)
            for owner in freed:
                pipeline.execute_command("ZREM", self._key, _text(owner))
            for owner in self._told:
                pipeline.execute_command("ZADD", self._key, now + _HOLDS_S, _text(owner))
            await pipeline.execute()
        for owner in freed:
            await self._problems.clear(_PROBLEM, subject=_text(owner))
        for owner in sorted(self._told)[:_MAX_PROBLEMS]:
            entity = owner.path.split("/", 1)[0]
            text = str(refusal(owner))
            await self._problems.tell(_PROBLEM, text, subject=_text(owner), entity=entity)


def _owners(beyond: Owner) -> Iterator[Owner]:
    """Whose bound may have been in the way of a run, or of a writer of a run."""
    entity = beyond.path.split("/", 1)[0]
    project = beyond.path.rsplit("/", 1)[0]
    yield Owner(beyond.what, entity)
    yield Owner(beyond.what, project if beyond.what == "runs" else beyond.path)


def _text(owner: Owner) -> str:
    return f"{owner.what} {owner.path}"
