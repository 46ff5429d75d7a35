"""Generated batches, sent as a client sends them: again and again until the store has them.

Each writer has one request in flight, learns from every reply what is committed and by which queue
and store, and resends batches that were queued in a queue, or committed to a store, that no longer
exists. Batches can be generated again from their seed, so none need be kept.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from benchmarks.generate import Shape, WriterPlan, batch_bytes, plans

from penstock.wire import CONTENT_TYPE, join_batches

__all__ = ["PatientLoad"]

_POLL_S = 0.1
_RNG = random.Random(1)  # noqa: S311 (jitter)
_LATER = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(slots=True)
class _Writer:
    plan: WriterPlan
    made: int = 0
    queued: int = 0
    committed: int = 0
    queue: str = ""
    store: str = ""
    advanced_at: float = 0.0


@dataclass
class PatientLoad:
    """Writers of `shape`, a batch each every `interval_s` until `stop`, then until everything is committed.

    `stalled_s` is the time without progress after which everything that is not committed is sent
    again: this brings back entries that vanished from a queue that kept its name.
    """

    url: str
    api_key: str
    project: str
    shape: Shape
    interval_s: float = 0.1
    stalled_s: float = 900.0
    timeout_s: float = 30.0
    refused: int = 0
    """Answers that meant "later"."""
    broken: int = 0
    """Requests without an answer."""
    repeats: int = 0
    """Batches sent again though they had been queued."""
    statuses: set[int] = field(default_factory=set)
    dead: dict[WriterPlan, set[int]] = field(default_factory=dict)
    """Numbers that were said to be dead letters, at any time."""
    _writers: list[_Writer] = field(default_factory=list)
    _stopped: bool = False

    @property
    def sent(self) -> dict[WriterPlan, int]:
        """The number of batches of each writer, for the ledger."""
        return {writer.plan: writer.made for writer in self._writers}

    @property
    def batches(self) -> int:
        return sum(writer.made for writer in self._writers)

    @property
    def committed(self) -> int:
        return sum(writer.committed for writer in self._writers)

    @property
    def queued(self) -> int:
        """Batches that a gateway said it had queued."""
        return sum(writer.queued for writer in self._writers)

    def stop(self) -> None:
        """Generate no more batches."""
        self._stopped = True

    async def run(self) -> None:
        """Send until stopped and committed."""
        self._writers = [_Writer(plan) for plan in plans(self.shape)]
        headers = {"Authorization": f"Bearer {self.api_key}"}
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(headers=headers, connector=connector) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for writer in self._writers:
                tasks.create_task(self._drive(session, writer))

    async def _drive(self, session: aiohttp.ClientSession, writer: _Writer) -> None:
        failures, next_at = 0, time.monotonic()
        writer.advanced_at = next_at
        while not (self._stopped and writer.committed >= writer.made):
            now = time.monotonic()
            if now - writer.advanced_at > self.stalled_s and writer.queued > writer.committed:
                self._send_again(writer)
            if writer.queued < writer.made:
                is_well = await self._send(session, writer)
            elif not self._stopped and now >= next_at:
                writer.made += 1
                next_at = max(now, next_at + self.interval_s)
                continue
            elif writer.committed < writer.made and self._stopped:
                await asyncio.sleep(_POLL_S)
                is_well = await self._ask(session, writer)
            else:
                await asyncio.sleep(max(0.0, next_at - now))
                continue
            failures = 0 if is_well else failures + 1
            if failures:
                await asyncio.sleep(_RNG.uniform(0, min(2.0, 0.1 * 2 ** min(failures, 6))))

    async def _send(self, session: aiohttp.ClientSession, writer: _Writer) -> bool:
        seq = writer.queued + 1
        raw = batch_bytes(self.shape, writer.plan, seq, project=self.project)
        headers = {"Content-Type": CONTENT_TYPE}
        url = f"{self.url}/v1/batches"
        reply = await self._exchange(
            session.post(url, data=join_batches([raw]), headers=headers, timeout=self._timeout()),
            {202},
        )
        if reply is None:
            return False
        writer.queued = max(writer.queued, seq)
        self._learn(writer, reply)
        return True

    async def _ask(self, session: aiohttp.ClientSession, writer: _Writer) -> bool:
        plan = writer.plan
        url = f"{self.url}/v1/writers/-/{self.project}/{plan.run_name}/{plan.name}"
        reply = await self._exchange(session.get(url, timeout=self._timeout()), {200, 404})
        if reply is not None:
            self._learn(writer, reply)
        return reply is not None

    def _timeout(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=self.timeout_s)

    async def _exchange(self, request: Any, good: set[int]) -> dict[str, Any] | None:
        try:
            async with request as reply:
                self.statuses.add(reply.status)
                if reply.status in good:
                    return dict(await reply.json())
                text = await reply.text()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            self.broken += 1
            return None
        if reply.status not in _LATER:
            raise RuntimeError(f"the gateway answered {reply.status}: {text}")
        self.refused += 1
        return None

    def _learn(self, writer: _Writer, reply: dict[str, Any]) -> None:
        if reply.get("dead"):
            self.dead.setdefault(writer.plan, set()).update(reply["dead"])
        committed = reply.get("committed")
        queue, store = str(reply.get("queue") or ""), str(reply.get("store") or "")
        if isinstance(committed, int) and committed != writer.committed:
            if committed > writer.committed:
                writer.advanced_at = time.monotonic()
            lower = committed < writer.committed
            writer.committed = min(committed, writer.made)
            if lower:  # the store was replaced by an older copy: all of it is still here
                self._send_again(writer)
        if queue and writer.queue and queue != writer.queue:
            self._send_again(writer)
        if store and writer.store and store != writer.store:
            self._send_again(writer)
        writer.queue, writer.store = queue or writer.queue, store or writer.store
        writer.queued = max(writer.queued, writer.committed)

    def _send_again(self, writer: _Writer) -> None:
        self.repeats += writer.queued - writer.committed
        writer.queued = writer.committed
        writer.advanced_at = time.monotonic()
