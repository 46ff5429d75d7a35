"""Where agents queue: those that come while the catalog is at work share its next transaction.

A large sweep has hundreds of agents; a transaction for each would be a hundred a second at most.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from penstock.errors import Rejected
from penstock_storage.sweep_rows import Beat, Draw, Handed, SweepCatalog

__all__ = ["Counter"]

_MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    beat: Beat
    draw: Draw
    answer: asyncio.Future[Handed]


class Counter:
    """The heartbeats that one gateway process takes in."""

    def __init__(self, catalog: SweepCatalog) -> None:
        self._catalog = catalog
        self._waiting: list[_Asked] = []
        self._turn = asyncio.Lock()

    async def ask(self, beat: Beat, draw: Draw) -> Handed:
        """What this agent gets. Whoever has the turn works for all that wait."""
        asked = _Asked(beat, draw, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        try:
            async with self._turn:
                if not asked.answer.done():
                    await self._work()
            return await asked.answer
        finally:
            # One that left is not waited for; one that failed has been told.
            if asked in self._waiting:
                self._waiting.remove(asked)
            asked.answer.cancel()

    async def _work(self) -> None:
        # An agent that asks again has not heard its first answer: that one is to be found then.
        first = {each.beat.agent: each for each in reversed(self._waiting)}
        group = [each for each in self._waiting if first[each.beat.agent] is each][:_MOST_AT_ONCE]
        try:
            found = await self._catalog.beat([(each.beat, each.draw) for each in group], _now)
        except Exception as error:
            # A seam: everyone in the group is answered, each request with an error of its own.
            for each in group:
                if not each.answer.done():
                    each.answer.set_exception(error)
        else:
            for each, handed in zip(group, found, strict=True):
                if each.answer.done():
                    continue
                if isinstance(handed, Rejected):
                    each.answer.set_exception(handed)
                else:
                    each.answer.set_result(handed)
        self._waiting = [each for each in self._waiting if not each.answer.done()]


def _now() -> int:
    return time.time_ns() // 1000
