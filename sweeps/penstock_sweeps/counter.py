"""Where agents queue: those that come while the catalog is at work share its next transaction.

A large sweep has hundreds of agents; a transaction for each would be a hundred a second at most.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from penstock.errors import Rejected
from penstock_common.batcher import Batcher
from penstock_storage.sweep_rows import Beat, Draw, Handed, SweepCatalog

__all__ = ["Counter"]

_Asked = tuple[Beat, Draw]


class Counter:
    """The heartbeats that one gateway process takes in."""

    def __init__(self, catalog: SweepCatalog) -> None:
        self._catalog = catalog
        # An agent that asks again has not heard its first answer: that one is to be found then.
        self._batcher: Batcher[_Asked, Handed] = Batcher(
            self._work, key=lambda asked: asked[0].agent
        )

    async def ask(self, beat: Beat, draw: Draw) -> Handed:
        """What this agent gets. Raises `Rejected` if it is nothing."""
        return await self._batcher.submit((beat, draw))

    async def _work(self, group: Sequence[_Asked]) -> list[Handed | Exception]:
        found: list[Handed | Rejected] = await self._catalog.beat(list(group), _now)
        return [*found]


def _now() -> int:
    return time.time_ns() // 1000
