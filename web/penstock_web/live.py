"""Live updates: forwards workers' commits from Redis pub/sub to the watchers of a project.

One subscription per process. A watcher holds at most one entry per run of its project, merged until
it is read, so a slow browser costs nothing. Anything that may have been missed (Redis was unreachable,
too much at once) becomes a gap, which tells the watcher to fetch everything again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock_common.http.payloads import text_of
from penstock_common.process.watchdog import Watchdog
from penstock_storage.contracts.interface import RunRef

__all__ = ["LIVE_FEED", "LiveFeed", "News", "Watcher"]

_LOG = logging.getLogger(__name__)
_MAX_RUNS = 10_000
_IDLE_S = 10.0
_RETRY_S = (0.1, 2.0)


@dataclass(slots=True)
class News:
    """News of a project: runs with their last steps, changed runs, deleted runs; `is_gap` if some news
    was missed."""

    runs: dict[str, int] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    is_gap: bool = False


class Watcher:
    """Collects the news of one project until they are read."""

    def __init__(self) -> None:
        self._news = News()
        self._woken = asyncio.Event()
        self.is_closed = False

    def add(self, runs: dict[str, int], changed: list[str], deleted: Sequence[str] = ()) -> None:
        self._news.runs.update(runs)
        self._news.changed.update(changed)
        self._news.deleted.update(deleted)
        if max(map(len, (self._news.runs, self._news.changed, self._news.deleted))) > _MAX_RUNS:
            self._news = News(is_gap=True)
        self._woken.set()

    def add_gap(self) -> None:
        self._news.is_gap = True
        self._woken.set()

    def close(self) -> None:
        self.is_closed = True
        self._woken.set()

    async def take(self, timeout_s: float) -> News | None:
        """The news since the last call, as soon as there are any; None on timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return None
        self._woken.clear()
        news, self._news = self._news, News()
        return news


class LiveFeed:
    """Subscribes to the channel and passes news to watchers."""

    def __init__(
        self,
        redis: Redis,
        channel: str,
        on_deleted: Callable[[Sequence[RunRef]], None] = lambda _: None,
        *,
        watchdog: Watchdog,
    ) -> None:
        self._watchdog = watchdog
        self._redis = redis
        self._channel = channel
        self._on_deleted = on_deleted
        self._watchers: dict[tuple[str, str], set[Watcher]] = {}

    @property
    def watchers(self) -> int:
        return sum(map(len, self._watchers.values()))

    @contextmanager
    def watching(self, entity: str, project: str) -> Iterator[Watcher]:
        """A watcher of this project while the block runs."""
        watcher = Watcher()
        group = self._watchers.setdefault((entity, project), set())
        group.add(watcher)
        try:
            yield watcher
        finally:
            group.discard(watcher)
            if not group and self._watchers.get((entity, project)) is group:
                del self._watchers[entity, project]

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Keep the feed running while the application runs."""
        task = self._watchdog.spawn(self._run(), "live feed")
        yield
        # redis-py swallows a cancellation while it connects: repeat it until it takes effect.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)

    async def stop(self, _: web.Application) -> None:
        """Release every watcher, so that shutdown need not wait for them."""
        for watcher in self._everyone():
            watcher.close()

    def deliver(self, message: bytes) -> None:
        """Forward one message of the channel; drop it if it is unreadable."""
        try:
            fields: dict[str, Any] = orjson.loads(message)
            project = (text_of(fields["entity"]), text_of(fields["project"]))
            runs, changed = dict(fields["runs"]), list(fields["changed"])
            deleted = list(fields.get("deleted", ()))
        except (ValueError, TypeError, LookupError, AttributeError):
            _LOG.warning("live_message_unreadable")
            return
        if deleted:
            self._on_deleted([RunRef(*project, run) for run in deleted])
        for watcher in self._watchers.get(project, ()):
            watcher.add(runs, changed, deleted)

    async def _run(self) -> None:
        wait_s, is_first = _RETRY_S[0], True
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(self._channel)
                    if not is_first:
                        _LOG.info("live_feed_back")
                        for watcher in self._everyone():
                            watcher.add_gap()
                    wait_s, is_first = _RETRY_S[0], False
                    await self._listen(pubsub)
            except (RedisError, OSError) as error:
                _LOG.warning("live_feed_lost", extra={"reason": type(error).__name__})
            is_first = False
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _RETRY_S[1])

    async def _listen(self, pubsub: Any) -> None:
        """Returns or raises when the connection is gone."""
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=_IDLE_S)
            if message is None:
                await pubsub.ping()  # raises if the connection is gone
            elif message["type"] == "message":
                self.deliver(message["data"])

    def _everyone(self) -> list[Watcher]:
        return [watcher for group in self._watchers.values() for watcher in group]


LIVE_FEED = web.AppKey("live_feed", LiveFeed)
"""Where an application keeps its feed."""
