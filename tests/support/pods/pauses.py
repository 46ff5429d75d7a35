"""For how long nothing was queued, nothing was stored, and no chart was drawn, at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from support.faultload import FaultLoad

__all__ = ["Pauses", "measured_pauses"]

_EVERY_S = 0.02
_CHART_EVERY_S = 0.25
_CHART_TIMEOUT_S = 10.0


@dataclass
class Gap:
    """The longest time between two changes of a counter."""

    count: Callable[[], int]
    longest_s: float = 0.0
    _known: int = -1
    _since: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        now, count = time.monotonic(), self.count()
        if count > self._known:
            self.longest_s = max(self.longest_s, now - self._since)
            self._known, self._since = count, now
        elif count < self._known:  # the other side lost something, and it is sent again
            self._known = count

    def close(self) -> None:
        """Count the pause that lasts until now as well."""
        self.longest_s = max(self.longest_s, time.monotonic() - self._since)

    def reset(self) -> None:
        self.longest_s, self._since = 0.0, time.monotonic()


@dataclass
class Pauses:
    """Use `measured_pauses`. `failed` counts charts that were refused or broken off."""

    queued: Gap
    stored: Gap
    charts: Gap
    drawn: int = 0
    failed: int = 0

    def reset(self) -> None:
        """Forget what was measured so far."""
        self.failed = 0
        for gap in (self.queued, self.stored, self.charts):
            gap.reset()

    def close(self) -> Pauses:
        """Measure no more; returns itself."""
        for gap in (self.queued, self.stored, self.charts):
            gap.close()
            gap.count = lambda: -1
        return self


@asynccontextmanager
async def measured_pauses(load: FaultLoad, page_url: str) -> AsyncIterator[Pauses]:
    """Measure while the block runs, with charts of the load's first run from the server at `page_url`."""
    pauses = Pauses(
        Gap(lambda: load.generated.queued), Gap(lambda: load.generated.committed), Gap(lambda: 0)
    )
    pauses.charts.count = lambda: pauses.drawn
    tasks = [asyncio.create_task(_look(pauses)), asyncio.create_task(_draw(pauses, load, page_url))]
    try:
        async with asyncio.timeout(60):
            while not pauses.drawn:
                await asyncio.sleep(_EVERY_S)
        pauses.reset()
        yield pauses
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _look(pauses: Pauses) -> None:
    while True:
        for gap in (pauses.queued, pauses.stored, pauses.charts):
            gap.look()
        await asyncio.sleep(_EVERY_S)


async def _draw(pauses: Pauses, load: FaultLoad, page_url: str) -> None:
    """Ask for a chart again and again, each time on a connection of its own, as from another browser."""
    generated = load.generated
    question = {"project": generated.project, "runs": ["run00000"], "keys": ["group0/metric0"]}
    headers = {"Authorization": f"Bearer {generated.api_key}"}
    timeout = aiohttp.ClientTimeout(total=_CHART_TIMEOUT_S)
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(
        headers=headers, timeout=timeout, connector=connector
    ) as session:
        while True:
            try:
                async with session.post(f"{page_url}/v1/charts", json=question) as reply:
                    is_drawn = reply.status == 200 and bool((await reply.json())["series"])
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                is_drawn = False
            pauses.drawn += is_drawn
            pauses.failed += not is_drawn and pauses.drawn > 0
            await asyncio.sleep(_CHART_EVERY_S)
