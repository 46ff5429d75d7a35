"""Turns of projects: how many batches of one project a gateway appends at a time.

Whatever waits for Redis is answered, and followed by its connection's next request, in one go. So a project with a
thousand connections would make everyone else wait for a thousand of its requests. Those above the bound wait among
themselves, in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["ProjectTurns"]

_AT_ONCE = 32
"""Enough to keep Redis and a core busy: an append takes a millisecond."""

Project = tuple[str, str]


class ProjectTurns:
    """At most `at_once` turns of each project at a time. Every turn that was taken or waited for must be ended."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._at_once = at_once
        self._taken: dict[Project, int] = {}
        self._waiting: dict[Project, deque[asyncio.Future[None]]] = {}

    def take(self, project: Project) -> bool:
        """Take a turn if there is one; otherwise `wait` for it."""
        taken = self._taken.get(project, 0)
        if taken >= self._at_once:
            return False
        self._taken[project] = taken + 1
        return True

    async def wait(self, project: Project) -> None:
        """Wait for the turn of another request that ends."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(project, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was just handed over
                self.end(project)
            raise

    def end(self, project: Project) -> None:
        """End a turn; the request that has waited for longest gets it."""
        waiting = self._waiting.get(project)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        if waiting is not None:
            del self._waiting[project]
        taken = self._taken[project] - 1
        if taken:
            self._taken[project] = taken
        else:
            del self._taken[project]
