"""Whether `/readyz` tells the truth, watched from outside while parts are broken."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

__all__ = ["Readiness"]

_EVERY_S = 0.5
_TIMEOUT_S = 5.0


@dataclass
class Readiness:
    """Asks `url` twice a second. `progress` counts what was stored, of a load that never rests.

    It lies when it has said "ready" for `patience_s` and nothing was stored in all that time.
    """

    url: str
    progress: Callable[[], int]
    patience_s: float = 45.0
    answers: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    lies: list[str] = field(default_factory=list)
    is_ready: bool = False
    said: str = ""
    """The last answer, as text."""

    async def watch(self) -> None:
        """Until cancelled."""
        known, since = self.progress(), time.monotonic()
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._ask(session)
                now, stored = time.monotonic(), self.progress()
                if stored != known or not self.is_ready:
                    known, since = stored, now
                elif now - since > self.patience_s:
                    what = f"ready, though nothing was stored for {now - since:.0f} s"
                    self.lies.append(f"{what}: {self.said}")
                    since = now
                await asyncio.sleep(_EVERY_S)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(f"{self.url}/readyz") as reply:
                self.is_ready = reply.status == 200
                self.said = await reply.text()
                body = json.loads(self.said)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            self.is_ready, body = False, {}
            self.answers["none"] += 1
            return
        self.answers["ready" if self.is_ready else "not ready"] += 1
        for problem in body.get("problems", []):
            self.problems[problem["code"]] += 1

    async def becomes_ready(self, timeout_s: float) -> bool:
        """Wait until it says so; False if it does not in this time."""
        deadline = time.monotonic() + timeout_s
        while not self.is_ready and time.monotonic() < deadline:
            await asyncio.sleep(_EVERY_S)
        return self.is_ready
