"""Whether queued batches are being processed: each shard's owner, its worker's state, its backlog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from penstock_common.queue.problems import Problem, read_problems
from penstock_common.queue.redis_keys import SHARDS, RedisKeys
from penstock_common.queue.scripts import WAITING
from penstock_common.queue.worker_sign import SIGN_TTL_S, WorkerSign

__all__ = ["Shard", "Workforce", "look_at_workforce", "stalled"]

_WAITED_S = 30.0


@dataclass(frozen=True, slots=True)
class Shard:
    """How long its oldest batch has waited (0: none is waiting), and its owning worker, if any."""

    number: int
    waited_s: float
    owner: str


@dataclass(frozen=True, slots=True)
class Workforce:
    """The workers' state in Redis, and the problems reported by others."""

    workers: int
    stalled: Problem | None
    problems: list[Problem]


async def look_at_workforce(redis: Redis, keys: RedisKeys) -> Workforce:
    """Raises Redis' errors."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.execute_command("TIME")
    pipeline.execute_command("HGETALL", keys.problems())
    pipeline.execute_command("ZRANGE", keys.workers(), 0, -1, "WITHSCORES", withscores=True)
    for shard in range(SHARDS):
        pipeline.execute_command("EVAL", WAITING, 2, keys.stream(shard), keys.lease(shard))
    replies: list[Any] = await pipeline.execute()
    (seconds, micros), problems, signed, *found = replies
    now = seconds + micros / 1e6
    names = [name.decode() for name, last in signed if last > now - SIGN_TTL_S]
    shards = [_shard(number, reply, now) for number, reply in enumerate(found)]
    signs = await _signs(redis, keys, names) if any(each.waited_s for each in shards) else {}
    return Workforce(len(names), stalled(shards, signs), list(read_problems(problems, now)))


async def _signs(redis: Redis, keys: RedisKeys, names: Sequence[str]) -> dict[str, WorkerSign]:
    pipeline = redis.pipeline(transaction=False)
    for name in names:
        pipeline.execute_command("GET", keys.worker(name))
    texts: list[Any] = await pipeline.execute()
    signs = {name: WorkerSign.load(text) for name, text in zip(names, texts, strict=True) if text}
    return {name: sign for name, sign in signs.items() if sign is not None}


def _shard(number: int, reply: Sequence[Any], now: float) -> Shard:
    first, lease = reply
    waited_s = max(0.0, now - int(first.partition(b"-")[0]) / 1000) if first else 0.0
    return Shard(number, waited_s, lease.decode().rpartition(":")[0] if lease else "")


def stalled(shards: Iterable[Shard], signs: Mapping[str, WorkerSign]) -> Problem | None:
    """The shards in which batches are waiting and none is stored, with the reasons. A backlog that is
    being processed is not one of them, however old it is."""
    late = [
        shard
        for shard in shards
        if shard.waited_s > _WAITED_S and _idle_s(shard, signs) > _WAITED_S
    ]
    if not late:
        return None
    waited_s = max(each.waited_s for each in late)
    reasons = sorted({_reason(each, signs) for each in late})
    numbers = ", ".join(str(each.number) for each in late)
    text = (
        f"Batches have been waiting for {waited_s:.0f} s and none was stored (shards {numbers}): "
    )
    return Problem("shard_stalled", f"{text}{'; '.join(reasons)}.")


def _idle_s(shard: Shard, signs: Mapping[str, WorkerSign]) -> float:
    sign = signs.get(shard.owner)
    return shard.waited_s if sign is None else sign.idle_s.get(shard.number, 0.0)


def _reason(shard: Shard, signs: Mapping[str, WorkerSign]) -> str:
    sign = signs.get(shard.owner)
    if not shard.owner:
        return "no worker owns them"
    if sign is None:
        return f"worker {shard.owner} has stopped responding"
    if sign.retrying:
        return f"worker {shard.owner} keeps retrying ({sign.retrying})"
    if sign.turned_s > _WAITED_S:
        return f"the loop of worker {shard.owner} has been stuck for {sign.turned_s:.0f} s"
    return f"worker {shard.owner} stores none of them"
