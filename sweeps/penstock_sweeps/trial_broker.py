"""Batches agents' heartbeats: those that arrive during a catalog transaction share the next one.

A large sweep has hundreds of agents; a transaction for each would allow about a hundred a second.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from penstock.errors import Rejected
from penstock_common.process.batcher import Batcher
from penstock_storage.contracts.sweep_rows import (
    AgentHeartbeat,
    Draw,
    SweepCatalog,
    TrialAssignment,
)

__all__ = ["TrialBroker"]

_Request = tuple[AgentHeartbeat, Draw]


class TrialBroker:
    """Answers the heartbeats that one gateway process receives."""

    def __init__(self, catalog: SweepCatalog) -> None:
        self._catalog = catalog
        # An agent that repeats its request has not received the first answer: find that one again.
        self._batcher: Batcher[_Request, TrialAssignment] = Batcher(
            self._answer_all, key=lambda request: request[0].agent
        )

    async def ask(self, heartbeat: AgentHeartbeat, draw: Draw) -> TrialAssignment:
        """What this agent is assigned. Raises `Rejected` if it is not known."""
        return await self._batcher.submit((heartbeat, draw))

    async def _answer_all(self, group: Sequence[_Request]) -> list[TrialAssignment | Exception]:
        found: list[TrialAssignment | Rejected] = await self._catalog.heartbeat(list(group), _now)
        return [*found]


def _now() -> int:
    return time.time_ns() // 1000
