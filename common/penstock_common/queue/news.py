"""Announces changes of runs to every web process through Redis pub/sub. Best effort: pages also poll."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from redis.asyncio import Redis

from penstock_common.queue.redis_keys import RedisKeys

__all__ = ["publish"]

Run = tuple[str, str, str]
"""(entity, project, run id)"""


async def publish(
    redis: Redis,
    keys: RedisKeys,
    *,
    advanced: Mapping[Any, int] | None = None,
    changed: Iterable[Run] = (),
    deleted: Iterable[Run] = (),
) -> None:
    """One message per project: runs with the step to which they advanced, changed or new runs, deleted
    runs."""
    news: dict[tuple[str, str], dict[str, Any]] = {}

    def of(run: Run) -> dict[str, Any]:
        entity, project, _ = run
        empty = {"entity": entity, "project": project, "runs": {}, "changed": [], "deleted": []}
        return news.setdefault((entity, project), empty)

    for run, step in (advanced or {}).items():
        of(run)["runs"][run[2]] = step
    for run in changed:
        of(run)["changed"].append(run[2])
    for run in deleted:
        of(run)["deleted"].append(run[2])
    for each in news.values():
        await redis.publish(keys.live_channel(), orjson.dumps(each))
