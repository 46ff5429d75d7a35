"""Parked (quarantined) writers for the commands `penstock dead …`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from penstock_common.queue.redis_keys import SHARDS, RedisKeys
from penstock_common.queue.scripts import UNPARK

__all__ = ["ParkedWriter", "parked_writers"]

_AT_ONCE = 50
_ROUNDS = 100


@dataclass(slots=True)
class ParkedWriter:
    """A writer whose batches are kept aside. `name` is its run and its own name."""

    shard: int
    name: str
    bytes: int
    since_us: int = 0
    reason: str = ""
    ids: list[tuple[int, str]] = field(default_factory=list)
    """(number, id) of its parked batches."""

    @property
    def batches(self) -> int:
        return len(self.ids)

    async def unpark(self, redis: Redis, keys: RedisKeys, *, drop: bool = False) -> int:
        """Put its batches back into the stream, in order, or have them dropped there; returns their
        number. This includes batches that arrive meanwhile."""
        names = (
            keys.stream(self.shard), keys.pending(self.shard), keys.parked(self.shard),
            keys.parked_bytes(self.shard), keys.parked_why(self.shard),
        )  # fmt: skip
        count, ids = 0, self.ids
        for _ in range(_ROUNDS):
            ordered = [entry_id for _, entry_id in sorted(ids)]
            count += len(ordered)
            is_back = False
            for start in range(0, max(1, len(ordered)), _AT_ONCE):
                some = ordered[start : start + _AT_ONCE]
                is_back = bool(
                    await redis.eval(UNPARK, 5, *names, self.name, str(int(drop)), *some)
                )
            if is_back:
                break
            ids = (await _ids(redis, keys, self.shard)).get(self.name, [])
        return count


async def parked_writers(redis: Redis, keys: RedisKeys) -> list[ParkedWriter]:
    """All parked writers."""
    writers = []
    for shard in range(SHARDS):
        sizes: dict[Any, Any] = await redis.hgetall(keys.parked_bytes(shard))
        if not sizes:
            continue
        why: dict[Any, Any] = await redis.hgetall(keys.parked_why(shard))
        ids = await _ids(redis, keys, shard)
        for writer, size in sizes.items():
            if writer:
                since, _, reason = why.get(writer, b"0 ").decode(errors="replace").partition(" ")
                name = writer.decode()
                writers.append(
                    ParkedWriter(shard, name, int(size), int(since), reason, ids.get(name, []))
                )
    return writers


async def _ids(redis: Redis, keys: RedisKeys, shard: int) -> dict[str, list[tuple[int, str]]]:
    """(number, id) of every parked batch of a shard, by writer, from the index without their bytes."""
    found: dict[str, dict[int, str]] = {}
    name: Any
    place: Any
    async for name, place in redis.hscan_iter(keys.pending(shard), count=5_000):
        if place.startswith(b"p"):
            seq, _, writer = name.decode().partition("/")
            found.setdefault(writer, {})[int(seq)] = place[1:].decode()
    return {writer: list(ids.items()) for writer, ids in found.items()}
