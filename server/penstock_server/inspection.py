"""The installation's health as seen by one gateway: stores, workers, disks and the parts of this
machine's `penstock up`; every problem in plain words."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from penstock.errors import PenstockError
from penstock_common.http.exporter import ask
from penstock_common.process.activity import Activity
from penstock_common.process.metrics import GatewayMetrics
from penstock_common.queue.problems import PROBLEMS, Problem, ordered
from penstock_common.queue.redis_keys import RedisKeys
from penstock_ingest.status import ServerStatus
from penstock_server.disks import disk_problems
from penstock_server.workforce import Workforce, look_at_workforce
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.contracts.interface import PointStore

__all__ = ["Condition", "Inspector"]

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_TIMEOUT_S = 2.0
_EVERY_S, _REST_S = 5.0, 30.0
_RECENT_S = 1.0
_NEARLY_FULL = 0.8
_STATES = {
    "down": ("part_down", "{} has exited and is being restarted."),
    "starting": ("part_down", "{} is starting."),
    "silent": ("part_silent", "{} has stopped responding."),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """The answer of `/readyz`. `parts` are those of `penstock up`, empty elsewhere."""

    queue: bool
    store: bool
    catalog: bool
    workers: int
    parts: Sequence[dict[str, Any]] = ()
    problems: Sequence[Problem] = field(default_factory=list)
    is_ready: bool = False


class Inspector:
    """Checks on request, and every few seconds for the metrics.

    With `peers`, the folder with the sockets of one machine's `penstock up`, anything that prevents data
    from being stored makes this gateway not ready. In a cluster only the gateway's own state does: an outage of
    Redis, the store or the catalog concerns all gateways at once, and without any of them clients would be
    refused by the network, instead of being told with 503 and `Retry-After` what is wrong.
    """

    def __init__(
        self,
        redis: Redis,
        keys: RedisKeys,
        points: PointStore,
        catalog: Catalog,
        status: ServerStatus,
        metrics: GatewayMetrics,
        *,
        peers: str,
        blobs_url: str,
        disk_low_bytes: int,
        takes_batches: bool,
        activity: Activity | None = None,
    ) -> None:
        self._activity = activity or Activity()
        self._redis = redis
        self._keys = keys
        self._points = points
        self._catalog = catalog
        self._status = status
        self._metrics = metrics
        self._up = Path(peers) / "up.metrics" if peers else None
        self._blobs = Path(blobs_url.removeprefix("file://")) if "file://" in blobs_url else None
        self._disk_low_bytes = disk_low_bytes
        self._takes_batches = takes_batches
        self._since: dict[tuple[str, str], float] = {}
        self._last: tuple[float, Condition] | None = None
        self._looking = asyncio.Lock()

    async def watch(self) -> None:
        """Keep the metrics up to date until cancelled."""
        while True:
            counts = Counter(each.code for each in (await self.recent()).problems)
            for code in PROBLEMS:
                self._metrics.problems.labels(code).set(counts[code])
            await self._activity.pause(_EVERY_S, _REST_S)

    async def recent(self) -> Condition:
        """The current or very recent state, shared by concurrent callers."""
        async with self._looking:
            if self._last is None or time.monotonic() - self._last[0] > _RECENT_S:
                self._last = (time.monotonic(), await self.look())
            return self._last[1]

    async def problems(self) -> Sequence[Problem]:
        """The problems for the page."""
        return (await self.recent()).problems

    async def look(self) -> Condition:
        """The current state."""
        force, store, catalog, up, _ = await asyncio.gather(
            _answer(lambda: look_at_workforce(self._redis, self._keys)),
            _answer(self._points.store_id),
            _answer(lambda: self._catalog.api_key("")),
            self._ask_up(),
            _answer(self._status.refresh_if_old),
        )
        queue_ok, store_ok, catalog_ok = (each is not None for each in (force, store, catalog))
        found = [
            *_stores(queue_ok, store_ok, catalog_ok),
            *(self._of_queue() if queue_ok else []),
            *(_of_workers(force[0], store_ok and catalog_ok) if force is not None else []),
            *(_of_up(up) if up is not None else await self._of_disk()),
        ]
        problems = self._dated(found)
        is_ready = not self._status.is_draining
        if self._takes_batches:
            is_ready = is_ready and self._status.is_queue_safe
        if up is not None:
            is_ready = is_ready and not any(each.stops for each in problems)
        workers = force[0].workers if force is not None else 0
        parts = up.get("parts", []) if up is not None else []
        return Condition(queue_ok, store_ok, catalog_ok, workers, parts, problems, is_ready)

    def _of_queue(self) -> Iterable[Problem]:
        status = self._status
        if status.queue_problem and not status.volatile_queue:
            yield Problem("queue_unsafe", f"The queue is not safe: {status.queue_problem}.")
        if status.is_queue_full:
            yield Problem("queue_full", "The queue is full; no batches are accepted.")
        elif status.queue_fill > _NEARLY_FULL:
            text = f"The queue uses {min(status.queue_fill, 1):.0%} of its memory."
            yield Problem("queue_nearly_full", text)

    async def _of_disk(self) -> list[Problem]:
        """The disks on which this gateway stores files; under `penstock up`, that covers all disks."""
        if self._blobs is None or not self._blobs.exists():
            return []
        folders = {"blobs": self._blobs}
        return await asyncio.to_thread(disk_problems, folders, low_bytes=self._disk_low_bytes)

    async def _ask_up(self) -> dict[str, Any] | None:
        """The parts reported by `penstock up`; None if this gateway is not part of one."""
        if self._up is None or not self._up.exists():
            return None
        try:
            state: dict[str, Any] = json.loads(await ask(self._up, "/condition"))
        except ValueError:
            return {"parts": [{"name": "up", "state": "silent", "since": 0.0, "restarts": 0}]}
        return state

    def _dated(self, found: Iterable[Problem]) -> list[Problem]:
        """The problems, with the time at which this process first saw each unless another is known."""
        now = time.time()
        known, self._since = self._since, {}
        dated: dict[tuple[str, str], Problem] = {}
        for each in found:
            which = (each.code, each.subject)
            self._since[which] = each.since or known.get(which, now)
            dated[which] = replace(each, since=self._since[which])
        return ordered(dated.values())


def _stores(queue: bool, store: bool, catalog: bool) -> Iterable[Problem]:
    if not queue:
        yield Problem("queue_unreachable", "The queue (Redis) does not respond.")
    if not store:
        yield Problem("store_unreachable", "The point store does not respond.")
    if not catalog:
        yield Problem("catalog_unreachable", "The catalog's database does not respond.")


def _of_workers(force: Workforce, stores_answer: bool) -> Iterable[Problem]:
    yield from force.problems
    if not force.workers:
        yield Problem("no_workers", "No worker is running.")
    elif force.stalled is not None and stores_answer:
        yield force.stalled


def _of_up(state: dict[str, Any]) -> Iterable[Problem]:
    for part in state.get("parts", ()):
        if part["state"] in _STATES:
            code, text = _STATES[part["state"]]
            yield Problem(code, text.format(part["name"]), part["name"], part["since"])
    for each in state.get("problems", ()):
        yield Problem(each["code"], each["text"], each["subject"])


async def _answer(question: Callable[[], Awaitable[T]]) -> tuple[T] | None:
    """The answer; None if there was none."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return (await question(),)
    except (PenstockError, RedisError, OSError, TimeoutError) as error:
        _LOG.debug("not_answered error=%s", type(error).__name__)
        return None
