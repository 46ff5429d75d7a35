"""Notices about bounds that are reached: gateways then refuse new runs and writers at the door instead
of the worker dead-lettering their batches, and users learn of it.

A notice holds for a minute and is repeated while it is true: it expires by itself when there is room
again, or when this worker is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from redis.asyncio import Redis

from penstock_common.process.bounds import Owner, refusal
from penstock_common.queue.problem_list import Problems
from penstock_common.queue.redis_keys import RedisKeys
from penstock_storage.contracts.catalog import RunCatalog

__all__ = ["BoundNotices"]

_HOLDS_S = 60
_MAX_OWNERS = 1_000
_PROBLEM, _MAX_PROBLEMS = "bound_reached", 20


class BoundNotices:
    """The entities, projects and runs that this worker found at their bound."""

    def __init__(
        self, redis: Redis, keys: RedisKeys, catalog: RunCatalog, problems: Problems
    ) -> None:
        self._redis = redis
        self._problems = problems
        self._key = keys.at_bound()
        self._catalog = catalog
        self._told: set[Owner] = set()

    async def tell(self, beyond: Iterable[Owner] = ()) -> None:
        """These owners needed one more run or writer than they may have. Earlier notices are repeated, or
        withdrawn if there is room now."""
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
    """The owners whose bound a new run, or a new writer of a run, may have met."""
    entity = beyond.path.split("/", 1)[0]
    project = beyond.path.rsplit("/", 1)[0]
    yield Owner(beyond.what, entity)
    yield Owner(beyond.what, project if beyond.what == "runs" else beyond.path)


def _text(owner: Owner) -> str:
    return f"{owner.what} {owner.path}"
