"""Liveness of runs: which still send data or heartbeats, and which have gone silent.

A run goes on until it says that it ended. One whose host vanished never does: the owner of shard 0
marks it crashed, and the next sign of life revives it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from redis.asyncio import Redis

from penstock_common.queue.redis_keys import SHARDS, RedisKeys, run_path, shard_of
from penstock_storage.contracts.catalog import RunCatalog
from penstock_storage.contracts.interface import RunRef

__all__ = ["Liveness"]

T = TypeVar("T")

_DATA_EVERY_S, _HEARTBEAT_EVERY_S = 5.0, 30.0
_MIN_SIGNS_BEFORE_SILENT = 10
"""Signs of life noted, at the least, in the time after which a run counts as silent."""

_BACKLOG_S = 30.0
"""A batch that has been queued for this long may be the missing sign of life."""

_FORGET_AFTER_S = 600.0
_MAX_RUNS = 200_000
_RUNS_PER_STATEMENT = 1_000


class Liveness:
    """Writes signs of life to the catalog, at most every few seconds for each run."""

    def __init__(
        self,
        redis: Redis,
        keys: RedisKeys,
        catalog: RunCatalog,
        owned: Mapping[int, int],
        *,
        silent_after_s: float,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._catalog = catalog
        self._owned = owned
        self._silent_after_s = silent_after_s
        self._started = time.monotonic()
        self._noted: dict[int, float] = {}
        self._numbers: dict[RunRef, int] = {}

    async def note_data(self, runs: Iterable[int]) -> list[RunRef]:
        """These runs sent data; returns those that had been marked crashed for silence."""
        return await self._note(runs, every_s=_DATA_EVERY_S, ended=True)

    async def _note(self, runs: Iterable[int], *, every_s: float, ended: bool) -> list[RunRef]:
        now = time.time()
        every_s = min(every_s, self._silent_after_s / _MIN_SIGNS_BEFORE_SILENT)
        due = [run for run in runs if self._noted.get(run, 0) < now - every_s]
        if not due:
            return []
        back = await self._catalog.touch_runs(due, int(now * 1e6), ended=ended)
        if len(self._noted) > _MAX_RUNS:
            self._noted.clear()
        self._noted.update(dict.fromkeys(due, now))
        return back

    def forget(self, ref: RunRef) -> None:
        """A run of this name was deleted: a later one has another number."""
        self._numbers.pop(ref, None)

    async def read_heartbeats(self) -> list[RunRef]:
        """Read the heartbeats of the shards that this worker owns; returns as `note_data` does."""
        alive: list[RunRef] = []
        oldest = time.time() - min(_HEARTBEAT_EVERY_S, self._silent_after_s)
        names = [self._keys.heartbeats(shard) for shard in self._owned]
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.execute_command("HGETALL", name)
            found: list[dict[Any, Any]] = await pipeline.execute()
        for name, beats in zip(names, found, strict=True):
            times = {path: int(at) / 1e6 for path, at in beats.items()}
            alive += [_ref(path.decode()) for path, at in times.items() if at > oldest]
            gone = [path for path, at in times.items() if at < time.time() - _FORGET_AFTER_S]
            for paths in _parts(gone):
                await self._redis.hdel(name, *paths)
        new = [ref for ref in alive if ref not in self._numbers]
        if len(self._numbers) > _MAX_RUNS:
            self._numbers.clear()
        self._numbers |= await self._catalog.numbers_of(new) if new else {}
        numbers = [self._numbers[ref] for ref in alive if ref in self._numbers]
        # A run's last heartbeat is read after its end: that is no news of the run.
        return await self._note(numbers, every_s=_HEARTBEAT_EVERY_S, ended=False)

    async def mark_crashed(self) -> list[RunRef]:
        """Mark the runs crashed that have been silent for too long; returns them.

        Not soon after this process began, nor while batches wait: then the sign of life may just
        not have been processed yet.
        """
        if time.monotonic() < self._started + self._silent_after_s or await self._has_backlog():
            return []
        now = time.time()
        before = int((now - self._silent_after_s) * 1e6)
        silent = await self._catalog.silent_runs(before)
        crashed: list[RunRef] = []
        for refs in _parts(list(silent)):
            beats = await self._beats(refs)
            numbers = [silent[ref] for ref in refs if beats[ref] < before]
            crashed += await self._catalog.mark_crashed(numbers, before, int(now * 1e6))
        return crashed

    async def _beats(self, refs: Iterable[RunRef]) -> dict[RunRef, int]:
        """When each of these runs sent its last heartbeat (µs); 0 if it sent none."""
        paths = {ref: run_path(*ref) for ref in refs}
        async with self._redis.pipeline(transaction=False) as pipeline:
            for path in paths.values():
                pipeline.execute_command("HGET", self._keys.heartbeats(shard_of(path)), path)
            found = await pipeline.execute()
        return {ref: int(at or 0) for ref, at in zip(paths, found, strict=True)}

    async def _has_backlog(self) -> bool:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for shard in range(SHARDS):
                stream = self._keys.stream(shard)
                pipeline.execute_command("XRANGE", stream, "-", "+", "COUNT", 1)
            firsts = await pipeline.execute()
        oldest_ms = (time.time() - min(_BACKLOG_S, self._silent_after_s)) * 1000
        return any(first and int(first[0][0].partition(b"-")[0]) < oldest_ms for first in firsts)


def _parts(whole: Sequence[T]) -> Iterator[Sequence[T]]:
    return (
        whole[start : start + _RUNS_PER_STATEMENT]
        for start in range(0, len(whole), _RUNS_PER_STATEMENT)
    )


def _ref(path: str) -> RunRef:
    return RunRef(*path.split("/"))
